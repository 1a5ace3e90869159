"""Files that must load, with the very numbers that torch and safetensors read from them; and the layouts they have."""

from __future__ import annotations

import io
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.errors import BadCheckpoint, ParamError, UnknownName
from bench.models import load_checkpoint
from bench.models.catalogue import unet_sizes
from bench.models.checkpoints.contents import Contents, StoredTensor
from bench.models.checkpoints.formats import WrongLayout, detect_format, drift_note, select
from bench.models.checkpoints.safe_load import read_tensors
from bench.models.checkpoints.shipped import load_weights
from bench.models.unet import UNet, UNetSizes
from bench.passport import read_passport

State = dict[str, Tensor]


TINY = UNetSizes(
    image_size=8, in_channels=1, base_channels=8, channel_multipliers=(1, 2), blocks_per_level=1, norm_groups=4
)


def seeded_unet(seed: int = 0) -> UNet:
    """The digits network with random numbers; one that `load_checkpoint` knows by its first layer."""
    torch.manual_seed(seed)
    return UNet(unet_sizes("digits"))


@pytest.fixture(scope="module")
def state() -> State:
    return dict(seeded_unet().state_dict())


@pytest.fixture(scope="module")
def tiny_state() -> State:
    torch.manual_seed(1)
    return dict(UNet(TINY).state_dict())


def filled(path: Path) -> nn.Module:
    network = UNet(TINY)
    load_weights(network, str(path), shipped=None)
    return network


def same(network: nn.Module, state: Mapping[str, Tensor]) -> bool:
    found = network.state_dict()
    return found.keys() == state.keys() and all(torch.equal(found[key], tensor) for key, tensor in state.items())


def loaded(path: Path, **arguments: object) -> nn.Module:
    network = load_checkpoint(path, "ddpm-unet", **arguments).network  # type: ignore[arg-type]
    assert isinstance(network, nn.Module)
    return network


# --- 50 good files --------------------------------------------------------------------------------------------------


def save_zip(value: object, path: Path) -> None:
    torch.save(value, path)


def save_legacy(value: object, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def save_protocol(protocol: int) -> Callable[[object, Path], None]:
    def save(value: object, path: Path) -> None:
        torch.save(value, path, pickle_protocol=protocol)

    return save


TORCH_WRITERS: dict[str, Callable[[object, Path], None]] = {
    "zip": save_zip,
    "legacy": save_legacy,
    "protocol 3": save_protocol(3),
    "protocol 4": save_protocol(4),
    "protocol 5": save_protocol(5),
}


def parameters(state: State) -> OrderedDict[str, nn.Parameter]:
    return OrderedDict((key, nn.Parameter(tensor)) for key, tensor in state.items())


def adam(state: State) -> dict[str, object]:
    """The state_dict of Adam after a step; spelled out, because torch.optim takes seconds to import."""
    moments = {
        index: {"step": torch.tensor(1.0), "exp_avg": tensor * 0.1, "exp_avg_sq": tensor**2}
        for index, tensor in enumerate(list(state.values())[:3])
    }
    group = {"lr": 2e-4, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False, "foreach": None, "params": [0, 1, 2]}
    return {"state": moments, "param_groups": [group]}


def module_prefixed(state: State) -> State:
    return {f"module.{key}": tensor for key, tensor in state.items()}


def inside_one_storage(state: State) -> State:
    """Views of one long vector, as some trainers keep their parameters."""
    whole = torch.cat([tensor.flatten() for tensor in state.values()])
    sizes = [tensor.numel() for tensor in state.values()]
    return {
        key: part.view(tensor.shape)
        for (key, tensor), part in zip(state.items(), torch.split(whole, sizes), strict=True)
    }


def channels_last(state: State) -> State:
    return {
        key: tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
        for key, tensor in state.items()
    }


LAYOUTS: dict[str, Callable[[State], object]] = {
    "flat": lambda state: state,
    "ordered": lambda state: OrderedDict(state),
    "parameters": parameters,
    "module.": module_prefixed,
    "state_dict": lambda state: {
        "state_dict": state,
        "epoch": 3,
        "lr": 2e-4,
        "name": "run",
        "best": None,
        "done": True,
    },
    "state_dict, module.": lambda state: {"epoch": 3, "state_dict": module_prefixed(state)},
    "one storage": inside_one_storage,
    "channels last": channels_last,
    "paper A": lambda state: [{key: tensor + 1 for key, tensor in state.items()}, adam(state), 7, 976_000, state],
}


@pytest.mark.parametrize("writer", TORCH_WRITERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_torch_file_gives_the_numbers_that_were_saved(
    tmp_path: Path, tiny_state: State, layout: str, writer: str
) -> None:
    path = tmp_path / "good.pt"
    TORCH_WRITERS[writer](LAYOUTS[layout](tiny_state), path)

    assert same(filled(path), tiny_state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_safetensors_file_gives_its_numbers_in_float32(tmp_path: Path, tiny_state: State, dtype: torch.dtype) -> None:
    path = tmp_path / "good.safetensors"
    stored = {key: tensor.to(dtype) for key, tensor in tiny_state.items()}
    safetensors.torch.save_file(stored, path, metadata={"format": "pt"})

    assert same(filled(path), {key: tensor.float() for key, tensor in stored.items()})
    assert read_passport(path).dtype == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_torch_file_in_half_precision_is_widened(tmp_path: Path, tiny_state: State, dtype: torch.dtype) -> None:
    stored = {key: tensor.to(dtype) for key, tensor in tiny_state.items()}
    torch.save(stored, tmp_path / "good.pt")

    assert same(filled(tmp_path / "good.pt"), {key: tensor.float() for key, tensor in stored.items()})


def test_these_are_fifty() -> None:
    assert len(TORCH_WRITERS) * len(LAYOUTS) + 3 + 2 == 50


# --- against the libraries' own readers -----------------------------------------------------------------------------


@given(
    shapes=st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=6),
    dtype=st.sampled_from(
        [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.float64]
    ),
    legacy=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_reader_agrees_with_the_library_that_wrote(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[list[int]], dtype: torch.dtype, legacy: bool
) -> None:
    folder = tmp_path_factory.mktemp("readers")
    tensors = {f"layer.{index}": (torch.rand(shape) * 50).to(dtype) for index, shape in enumerate(shapes)}
    torch.save(tensors, folder / "a.pt", _use_new_zipfile_serialization=not legacy)
    safetensors.torch.save_file(tensors, folder / "a.safetensors")
    wanted = {key: tensor.float() if tensor.element_size() == 2 else tensor for key, tensor in tensors.items()}

    for name in ("a.pt", "a.safetensors"):
        found = read_tensors(folder / name)
        assert list(found) == list(wanted)
        assert all(torch.equal(found[key], wanted[key]) and found[key].dtype == wanted[key].dtype for key in wanted)


def test_a_transposed_tensor_keeps_its_order(tmp_path: Path) -> None:
    tensor = torch.arange(24.0).view(4, 6)
    torch.save({"t": tensor.T, "sliced": tensor[1:3]}, tmp_path / "a.pt")

    found = read_tensors(tmp_path / "a.pt")

    assert torch.equal(found["t"], tensor.T)
    assert torch.equal(found["sliced"], tensor[1:3])


@pytest.mark.parametrize("place", [0, 1, 31, 4095, 8190, 8191])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_number_is_found_wherever_it_stands(tmp_path: Path, place: int, bad: float) -> None:
    tensor = torch.zeros(8192)
    tensor[place] = bad
    torch.save({"t": tensor}, tmp_path / "a.pt")

    with pytest.raises(BadCheckpoint, match="'t' holds NaN or infinity"):
        read_tensors(tmp_path / "a.pt")


# --- layouts --------------------------------------------------------------------------------------------------------


def test_importing_models_imports_no_torch() -> None:
    import subprocess

    code = "import sys, bench.models; bench.models.load_checkpoint; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (["temb.dense.0.weight"], "ddim"),
        (["module.temb.dense.0.weight"], "ddim"),
        (["0.module.temb.dense.0.weight", "4.temb.dense.0.weight"], "paper-a"),
        (["time_embedding.linear_1.weight", "down_blocks.0.resnets.0.conv1.weight"], "diffusers"),
        (["model.betas", "model.model.init_conv.weight"], "lucidrains"),
        (["ema.ema_model.model.init_conv.weight"], "lucidrains"),
        (["model.model.initial_velocity.conv1.weight"], "cddpm"),
        (["weight", "bias"], "native"),
    ],
)
def test_a_layout_is_told_from_its_names(names: list[str], layout: str) -> None:
    assert detect_format(names) == layout


def test_paper_a_gives_its_average_unless_the_raw_weights_are_asked_for(tmp_path: Path, state: State) -> None:
    raw = {key: tensor + 1 for key, tensor in state.items()}
    torch.save([module_prefixed(raw), {}, 7, 976_000, state], tmp_path / "a.pth")

    averaged = load_checkpoint(tmp_path / "a.pth", "ddpm-unet")
    asked = load_checkpoint(tmp_path / "a.pth", "ddpm-unet", ema=False)

    assert same(averaged.network, state)  # type: ignore[arg-type]
    assert (averaged.weights.ema, averaged.weights.steps) == (True, 976_000)
    assert same(asked.network, raw)  # type: ignore[arg-type]
    assert (asked.weights.ema, asked.weights.steps) == (False, 976_000)


def test_a_list_of_four_entries_says_that_it_has_no_average(tmp_path: Path, state: State) -> None:
    torch.save([module_prefixed(state), {}, 7, 976_000], tmp_path / "a.pth")

    denoiser = load_checkpoint(tmp_path / "a.pth", "ddpm-unet")

    assert same(denoiser.network, state)  # type: ignore[arg-type]
    assert not denoiser.weights.ema
    assert "a list of 4 entries holds no moving average" in denoiser.weights.source
    with pytest.raises(BadCheckpoint, match=r"list of 4 entries, saved without a moving average; ask for .*ema=False"):
        load_checkpoint(tmp_path / "a.pth", "ddpm-unet", ema=True)


def test_insisting_on_another_layout_is_refused(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "a.pt")

    assert same(loaded(tmp_path / "a.pt", format="ddim"), state)
    assert same(loaded(tmp_path / "a.pt", format="native"), state)
    with pytest.raises(BadCheckpoint, match="has the layout 'ddim', and 'paper-a' was asked for"):
        loaded(tmp_path / "a.pt", format="paper-a")
    with pytest.raises(ParamError, match="did you mean 'diffusers'"):
        loaded(tmp_path / "a.pt", format="diffuser")


def test_a_checkpoint_goes_into_the_model_that_is_named(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "a.pt")

    skipping = load_checkpoint(tmp_path / "a.pt", skip="duplicate", skip_exponent=3.0)

    assert skipping.stage is not None
    assert skipping.stage(999) == 3
    assert skipping.image_shape == (1, 16, 16)
    assert same(skipping.network, state)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="did you mean"):
        load_checkpoint(tmp_path / "a.pt", "skip-unit")
    with pytest.raises(ParamError, match="takes no parameter 'skipp'; did you mean 'skip'"):
        load_checkpoint(tmp_path / "a.pt", skipp="zero")
    with pytest.raises(ParamError, match="leave the argument 'weights' out"):
        load_checkpoint(tmp_path / "a.pt", weights="random")


def test_a_checkpoint_of_other_sizes_is_refused_by_its_first_layers(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "a.pt")

    with pytest.raises(BadCheckpoint, match=r"'temb.dense.0.weight' is \(64, 16\), expected \(512, 128\)"):
        load_checkpoint(tmp_path / "a.pt", "ddpm-unet", config="cifar10")


# --- Trainer milestones ---------------------------------------------------------------------------------------------


def milestone(names: list[str], *, ema: bool = True, version: str = "1.8.3") -> dict[str, object]:
    """What the Trainer saves, around any network: buffers, two averages, an optimiser and a scaler."""
    state = {name: torch.full((2,), float(index)) for index, name in enumerate(names)}
    model = {"betas": torch.linspace(1e-4, 0.02, 10), **{f"model.{name}": tensor for name, tensor in state.items()}}
    averaged = {f"ema_model.model.{name}": tensor + 100 for name, tensor in state.items()}
    online = {f"online_model.{name}": tensor for name, tensor in model.items()}
    saved: dict[str, object] = {"step": 25_000, "model": model, "opt": adam(state), "scaler": {"scale": 65536.0}}
    if ema:
        saved["ema"] = {"initted": torch.tensor([True]), "step": torch.tensor([25_000]), **online, **averaged}
    return {**saved, "version": version}


class Toy(nn.Module):
    """Two vectors with the names a test gives them."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        for name in names:
            module: nn.Module = self
            *path, last = name.split(".")
            for part in path:
                child = dict(module.named_children()).get(part) or nn.Module()
                module.add_module(part, child)
                module = child
            module.register_parameter(last, nn.Parameter(torch.zeros(2)))


@pytest.mark.parametrize(
    ("names", "layout"),
    [(["init_conv.weight", "downs.0.0.block1.norm.bias"], "lucidrains"), (["initial_velocity.conv1.weight"], "cddpm")],
)
def test_a_milestone_gives_its_average(tmp_path: Path, names: list[str], layout: str) -> None:
    torch.save(milestone(names), tmp_path / "model-25.pt")
    network = Toy(names)

    weights, _ = load_weights(network, str(tmp_path / "model-25.pt"), shipped=None)

    assert [float(tensor[0]) for tensor in network.state_dict().values()] == [100.0 + i for i in range(len(names))]
    assert (weights.ema, weights.steps) == (True, 25_000)
    assert read_passport(tmp_path / "model-25.pt").format == layout


def test_a_milestone_without_average_says_so(tmp_path: Path) -> None:
    torch.save(milestone(["init_conv.weight"], ema=False), tmp_path / "model-25.pt")
    network = Toy(["init_conv.weight"])

    weights, _ = load_weights(network, str(tmp_path / "model-25.pt"), shipped=None)

    assert not weights.ema
    assert "holds no moving average" in weights.source


def test_the_drift_between_library_versions_is_named(tmp_path: Path) -> None:
    ours = ["init_conv.weight", "downs.0.0.block1.norm.weight", "downs.0.0.block1.norm.bias"]
    newer = ["init_conv.weight", "downs.0.0.block1.norm.g", "downs.0.2.mem_kv"]
    torch.save(milestone(newer, version="2.2.5"), tmp_path / "model-25.pt")

    with pytest.raises(BadCheckpoint) as refused:
        load_weights(Toy(ours), str(tmp_path / "model-25.pt"), shipped=None)

    message = str(refused.value)
    assert "saved by version 2.2.5" in message
    assert "mem_kv" in message and "1.9.0" in message
    assert "RMSNorm" in message and "2.0.0" in message


def released_cunet(**sizes: str) -> nn.Module:
    module = pytest.importorskip("bench.models.cunet_released")
    network: nn.Module = module.ReleasedCUNet(module.ReleasedSizes(image_size=16, width=4, depth=4, **sizes))
    return network


@pytest.mark.parametrize("sizes", [{}, {"attention": "five"}, {"attention": "five", "norm": "group"}], ids=str)
def test_every_variant_of_the_continuous_unet_comes_out_of_its_milestone(tmp_path: Path, sizes: dict[str, str]) -> None:
    torch.manual_seed(0)
    saved, network = released_cunet(**sizes), released_cunet(**sizes)
    wrapped = {f"ema_model.model.{key}": tensor for key, tensor in saved.state_dict().items()}
    torch.save({"step": 500_000, "model": {}, "ema": wrapped, "version": "1.8.3"}, tmp_path / "model-500.pt")

    weights, _ = load_weights(network, str(tmp_path / "model-500.pt"), shipped=None)

    assert same(network, saved.state_dict())
    assert read_passport(tmp_path / "model-500.pt").format == "cddpm"
    assert (weights.ema, weights.steps) == (True, 500_000)


def test_another_variant_of_the_continuous_unet_is_named(tmp_path: Path) -> None:
    saved = released_cunet(attention="five", norm="group")
    wrapped = {f"model.{key}": tensor for key, tensor in saved.state_dict().items()}
    torch.save({"step": 240_000, "model": wrapped, "version": "1.8.3"}, tmp_path / "model-240.pt")

    with pytest.raises(BadCheckpoint, match="has 5 attentions and group norms, the network here 2 attentions and no"):
        load_weights(released_cunet(), str(tmp_path / "model-240.pt"), shipped=None)


def test_no_drift_is_named_where_there_is_none() -> None:
    assert drift_note(["init_conv.weight"], ["init_conv.bias"], "1.8.3") == ""


def test_a_milestone_that_lacks_what_is_insisted_on_is_refused() -> None:
    tensor = StoredTensor("float32", (2,), 0)

    with pytest.raises(WrongLayout, match="without a moving average"):
        select(Contents({"model.model.a": tensor}, {}), {"a": (2,)}, ema=True)
    with pytest.raises(WrongLayout, match="without raw weights"):
        select(Contents({"ema.ema_model.model.a": tensor}, {}), {"a": (2,)}, ema=False)


def test_numbers_of_an_optimiser_are_never_read(tmp_path: Path) -> None:
    content = milestone(["init_conv.weight"])
    content["opt"] = {"state": {0: {"exp_avg": torch.tensor([float("nan")])}}}
    stream = io.BytesIO()
    torch.save(content, stream)
    (tmp_path / "model-25.pt").write_bytes(stream.getvalue())

    load_weights(Toy(["init_conv.weight"]), str(tmp_path / "model-25.pt"), shipped=None)
