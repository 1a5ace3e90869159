"""diffusers' UNet2DModel as the oracle: the same numbers give the same output, in both directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.contracts import Denoiser, Prediction, ScheduleSpec
from bench.errors import BadCheckpoint, MissingWeights, ParamError, SaveError
from bench.models import load_checkpoint
from bench.models.checkpoints.diffusers_folder import CONFIG, WEIGHTS, export_diffusers
from bench.models.checkpoints.diffusers_names import EARLY_ATTENTION, diffusers_name
from bench.models.checkpoints.shipped import load_weights
from bench.models.unet import UNet, UNetSizes
from bench.passport import read_passport

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

CIFAR10: dict[str, Any] = {
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 32,
}
REDUCED: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (32, 64, 64),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 16,
}
COMMON: dict[str, Any] = {
    "layers_per_block": 2,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
}
TIMESTEPS = (0, 1, 250, 999)


def oracle(arguments: dict[str, Any]) -> Any:
    """A seeded UNet2DModel; its zero-initialised parts get numbers too, so that every tensor matters."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    model = diffusers.UNet2DModel(**COMMON, **arguments).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The small oracle and the folder diffusers saves it to; tests copy what they change."""
    model = oracle(REDUCED)
    folder = tmp_path_factory.mktemp("reduced")
    model.save_pretrained(folder)
    return model, folder


def copy(folder: Path, to: Path, **changed: object) -> Path:
    """The folder again, with changed entries in its config."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    to.mkdir(exist_ok=True)
    (to / CONFIG).write_text(json.dumps({**config, **changed}), encoding="utf-8")
    (to / f"{WEIGHTS}.safetensors").write_bytes((folder / f"{WEIGHTS}.safetensors").read_bytes())
    return to


def largest_difference(denoiser: Denoiser, model: Any) -> float:
    """Over the timesteps and two images each; outputs are of the order of one."""
    network = denoiser.network
    assert isinstance(network, nn.Module)
    network.eval()
    x_t = torch.randn(2, *denoiser.image_shape, generator=torch.Generator().manual_seed(3))
    worst = 0.0
    with torch.inference_mode():
        for t in TIMESTEPS:
            ours, theirs = network(x_t, torch.full((2,), t)), model(x_t, t).sample
            assert theirs.abs().max() > 0.1
            worst = max(worst, float((ours - theirs).abs().max()))
    return worst


def test_a_reduced_folder_gives_diffusers_output(reduced: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = reduced

    denoiser = load_checkpoint(copy(folder, tmp_path / "net"), "ddpm-unet")

    assert denoiser.image_shape == (3, 16, 16)
    assert largest_difference(denoiser, model) < 1e-5


@pytest.mark.slow
def test_the_published_size_gives_diffusers_output(tmp_path: Path) -> None:
    model = oracle(CIFAR10)
    model.save_pretrained(tmp_path)

    denoiser = load_checkpoint(tmp_path, "ddpm-unet")

    assert sum(parameter.numel() for parameter in denoiser.network.parameters()) == 35_746_307  # type: ignore[attr-defined]
    assert largest_difference(denoiser, model) < 1e-5


def test_every_one_of_the_328_published_keys_has_a_diffusers_name() -> None:
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        theirs = diffusers.UNet2DModel(**COMMON, **CIFAR10).state_dict()
        ours = UNet(UNetSizes()).state_dict()

    names = {diffusers_name(key, 4) for key in ours}

    assert len(ours) == len(names) == 328
    assert names == set(theirs)


def test_early_attention_names_and_a_pickled_file_are_read(reduced: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = reduced
    state = load_file(folder / f"{WEIGHTS}.safetensors")
    early: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for old, current in EARLY_ATTENTION.items():
            name = name.replace(current, old)
        early[name] = tensor
    assert sum(".proj_attn." in name for name in early) > 0
    copy(folder, tmp_path)
    (tmp_path / f"{WEIGHTS}.safetensors").unlink()
    torch.save(early, tmp_path / f"{WEIGHTS}.bin")

    denoiser = load_checkpoint(tmp_path, "ddpm-unet")

    assert largest_difference(denoiser, model) < 1e-5


def test_an_early_and_a_current_name_for_one_tensor_are_refused(reduced: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = reduced
    state = load_file(folder / f"{WEIGHTS}.safetensors")
    state["mid_block.attentions.0.query.bias"] = state["mid_block.attentions.0.to_q.bias"].clone()
    copy(folder, tmp_path)
    save_file(state, tmp_path / f"{WEIGHTS}.safetensors")

    with pytest.raises(BadCheckpoint, match="unexpected 'mid_block"):
        load_checkpoint(tmp_path, "ddpm-unet")


def test_export_and_from_pretrained_give_the_same_output(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(5)
    sizes = UNetSizes(
        image_size=16, in_channels=1, base_channels=16, channel_multipliers=(1, 2, 2), norm_groups=8, dropout=0.0
    )
    network = UNet(sizes).eval()

    export_diffusers(network, tmp_path / "net")
    model = diffusers.UNet2DModel.from_pretrained(tmp_path / "net", low_cpu_mem_usage=False).eval()

    x_t = torch.randn(2, 1, 16, 16)
    with torch.inference_mode():
        for t in TIMESTEPS:
            assert float((network(x_t, torch.full((2,), t)) - model(x_t, t).sample).abs().max()) < 1e-5
    back = load_checkpoint(tmp_path / "net", "ddpm-unet").network
    assert isinstance(back, UNet)
    assert back.sizes == sizes
    assert all(torch.equal(tensor, network.state_dict()[key]) for key, tensor in back.state_dict().items())


def test_a_folder_goes_through_a_suites_weights_argument(reduced: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = reduced
    copy(folder, tmp_path)
    sizes = UNetSizes(image_size=16, base_channels=32, channel_multipliers=(1, 2, 2), norm_groups=16)
    network = UNet(sizes)

    weights, inputs = load_weights(network, str(tmp_path), shipped=None)

    assert inputs == (tmp_path / f"{WEIGHTS}.safetensors", tmp_path / CONFIG)
    assert weights.sha256 == read_passport(inputs[0]).sha256
    assert torch.equal(network.conv_in.weight, model.conv_in.weight)


def test_a_skipping_network_is_filled_from_a_folder(reduced: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = reduced

    denoiser = load_checkpoint(copy(folder, tmp_path), "skip-unet", skip="zero", skip_exponent=0.0)

    assert largest_difference(denoiser, model) < 1e-5
    skipping = load_checkpoint(tmp_path, "skip-unet", skip="zero", skip_exponent=2.0)
    assert skipping.stage is not None
    assert [skipping.stage(t) for t in (0, 999)] == [0, 2]
    assert largest_difference(skipping, model) > 1e-3


@pytest.mark.parametrize(
    "changed",
    [
        {"flip_sin_to_cos": True},
        {"freq_shift": 0},
        {"downsample_padding": 1},
        {"center_input_sample": True},
        {"act_fn": "gelu"},
        {"time_embedding_type": "fourier"},
        {"resnet_time_scale_shift": "scale_shift"},
        {"mid_block_scale_factor": 1.414},
        {"add_attention": False},
        {"class_embed_type": "timestep"},
        {"attention_head_dim": 8},
        {"down_block_types": ["DownBlock2D", "DownBlock2D", "DownBlock2D"]},
        {"up_block_types": ["UpBlock2D", "ResnetUpsampleBlock2D", "UpBlock2D"]},
        {"block_out_channels": [32, 48, 64]},
        {"block_out_channels": [0, 0, 0]},
        {"block_out_channels": [1 << 40, 1 << 40, 1 << 40]},
        {"block_out_channels": []},
        {"block_out_channels": "big"},
        {"block_out_channels": [32] * 4000},
        {"layers_per_block": 1 << 30},
        {"layers_per_block": True},
        {"out_channels": 6},
        {"sample_size": [16, 16]},
        {"sample_size": 18},
        {"norm_num_groups": 5},
        {"norm_eps": float("nan")},
        {"norm_eps": "small"},
        {"_class_name": "UNet2DConditionModel"},
    ],
    ids=str,
)
def test_a_config_of_another_network_is_refused(
    reduced: tuple[Any, Path], tmp_path: Path, changed: dict[str, object]
) -> None:
    folder = copy(reduced[1], tmp_path, **changed)

    with pytest.raises(BadCheckpoint, match=r"config\.json: ") as refused:
        load_checkpoint(folder, "ddpm-unet")
    assert "\n" not in str(refused.value)


def test_a_config_that_promises_more_than_the_file_has_is_refused(reduced: tuple[Any, Path], tmp_path: Path) -> None:
    folder = copy(reduced[1], tmp_path, layers_per_block=3)

    with pytest.raises(BadCheckpoint, match="made for another network: missing"):
        load_checkpoint(folder, "ddpm-unet")


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff", "[" * 100_000])
def test_a_broken_config_is_refused(reduced: tuple[Any, Path], tmp_path: Path, text: str) -> None:
    copy(reduced[1], tmp_path)
    (tmp_path / CONFIG).write_text(text, encoding="latin-1")

    with pytest.raises(BadCheckpoint, match=r"config\.json: is "):
        load_checkpoint(tmp_path, "ddpm-unet")


def test_a_pipelines_schedule_and_prediction_are_read(reduced: tuple[Any, Path], tmp_path: Path) -> None:
    copy(reduced[1], tmp_path / "unet")
    (tmp_path / "scheduler").mkdir()
    scheduler = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 1000, "prediction_type": "v_prediction"}
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler), encoding="utf-8")

    denoiser = load_checkpoint(tmp_path, "ddpm-unet")

    assert denoiser.schedule == ScheduleSpec("cosine")
    assert denoiser.prediction is Prediction.V
    assert len(denoiser.inputs) == 3
    sizes = UNetSizes(image_size=16, base_channels=32, channel_multipliers=(1, 2, 2), norm_groups=16)
    with pytest.raises(BadCheckpoint, match="another noise schedule or prediction"):
        load_weights(UNet(sizes), str(tmp_path), shipped=None)


def test_an_unknown_schedule_is_refused(reduced: tuple[Any, Path], tmp_path: Path) -> None:
    copy(reduced[1], tmp_path)
    (tmp_path / "scheduler_config.json").write_text('{"beta_schedule": "laplace"}', encoding="utf-8")

    with pytest.raises(BadCheckpoint, match="beta_schedule is 'laplace', expected 'linear'"):
        load_checkpoint(tmp_path, "ddpm-unet")


def test_a_folder_with_files_missing_says_which(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"a folder without config\.json"):
        load_checkpoint(tmp_path)
    (tmp_path / CONFIG).write_text("{}", encoding="utf-8")
    with pytest.raises(MissingWeights, match=r"neither diffusion_pytorch_model\.safetensors nor"):
        load_checkpoint(tmp_path)


def test_what_diffusers_cannot_hold_is_not_exported(tmp_path: Path) -> None:
    wide = UNetSizes(image_size=8, base_channels=8, channel_multipliers=(2, 2), norm_groups=4)

    with pytest.raises(ParamError, match="UNet2DModel's first one is always 1"):
        export_diffusers(UNet(wide), tmp_path / "net")
    (tmp_path / "file").write_text("", encoding="utf-8")
    small = UNetSizes(image_size=8, base_channels=8, channel_multipliers=(1, 2), norm_groups=4)
    with pytest.raises(SaveError, match="file: is a file, expected a folder of its own"):
        export_diffusers(UNet(small), tmp_path / "file")
