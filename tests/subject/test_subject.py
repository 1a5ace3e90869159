"""The subject: what a network is called with, what comes back, and what never depends on the batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bench.subject
from bench.contracts import Denoiser, Prediction, Sampler, ScheduleSpec, Weights
from bench.errors import MeasurementError, ParamError, Unsupported, UserError
from bench.registry import Registry
from bench.subject import Subject, Workspace, build_subject, count_denormals, place, prepare_process
from bench.suite.schema import Cell, Conditions, Effort, Ref

SHAPE = (1, 4, 4)
SPEC = ScheduleSpec(num_train_timesteps=10, beta_start=0.05, beta_end=0.2)


class Network(nn.Module):
    """A convolution that remembers what it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.asked: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.asked.append((x, t))
        out: Tensor = self.dropout(self.layer(x)) * (1 + t.to(x.dtype)[:, None, None, None] / 10)
        return out


@dataclass(frozen=True)
class Walk:
    """DDIM without its formula: visits its timesteps, with noise."""

    timesteps: tuple[int, ...] = (9, 5, 5, 0)
    order: int = 1

    def __call__(self, predict: Any, x_T: Tensor, noise: Any, observe: Any = None) -> Tensor:
        x_t = x_T
        for step, t in enumerate(self.timesteps):
            for _ in range(self.order):
                pred_x0, eps = predict(x_t, t)
            x_t = 0.6 * pred_x0.clamp(-1, 1) + 0.4 * eps + 0.1 * noise(step)
            if observe is not None:
                observe(step, t, x_t, pred_x0)
        return x_t


@dataclass(frozen=True)
class Ramp:
    """Five images, image i all i/10; `inputs` is a file of the test's choice."""

    image_shape: tuple[int, int, int] = SHAPE
    inputs: tuple[Path, ...] = ()
    fingerprint: str = "ramp"
    split: str = "test"

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: slice) -> Tensor:
        return (torch.arange(5.0)[index] / 10)[:, None, None, None].expand(-1, *self.image_shape)


def denoiser(network: Any = None, **changes: Any) -> Denoiser:
    torch.manual_seed(0)
    made = Denoiser(network or Network(), SHAPE, Prediction.EPSILON, SPEC, Weights("random"))
    return replace(made, **changes)


def subject(
    tmp_path: Path, network: Any = None, *, sampler: Sampler | None = Walk(), data: Any = None, **conditions: Any
) -> Subject:
    wanted = Conditions.model_validate(conditions)
    placed = place(denoiser(network).network, wanted)
    return Subject(denoiser(placed), sampler, data, wanted, 7, Workspace(tmp_path, tmp_path))


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Registry[Any]]]:
    """Empty registries in place of the project's, with the toys in them."""
    made: dict[str, Registry[Any]] = {}
    for name, kind in (("MODELS", "model"), ("DATASETS", "data set"), ("SAMPLERS", "sampler")):
        made[name] = Registry(kind)
        monkeypatch.setattr(bench.subject, name, made[name])
    made["MODELS"].add("toy", lambda: denoiser())
    made["DATASETS"].add("ramp", lambda: Ramp())
    made["DATASETS"].add("wide", lambda: Ramp(image_shape=(3, 4, 4)))
    made["SAMPLERS"].add("walk", lambda schedule: Walk())
    yield made


def cell(model: str = "toy", data: str | None = "ramp", sampler: str | None = "walk", **conditions: Any) -> Cell:
    return Cell(
        id="toy/x-00000000",
        suite="toy",
        model=Ref(name=model),
        sampler=None if sampler is None else Ref(name=sampler),
        data=None if data is None else Ref(name=data),
        conditions=Conditions.model_validate(conditions),
        seed=7,
        factors={},
        metrics=(),
        effort=Effort(),
    )


def build(tmp_path: Path, wanted: Cell) -> Subject:
    return build_subject(wanted, Workspace(tmp_path, tmp_path))


def test_predict_converts_what_the_network_predicts(tmp_path: Path) -> None:
    made = subject(tmp_path, lambda x, t: torch.full_like(x, 0.5))
    x_t = torch.full((2, *SHAPE), 0.25)
    abar = math.prod(1 - beta for beta in np.linspace(0.05, 0.2, 10)[:4])

    pred_x0, eps = made.predict(x_t, 3)

    torch.testing.assert_close(pred_x0, (x_t - math.sqrt(1 - abar) * 0.5) / math.sqrt(abar))
    assert torch.equal(eps, torch.full_like(x_t, 0.5))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_network_sees_its_precision_and_the_sampler_float32(dtype: str, tmp_path: Path) -> None:
    network = Network()
    made = subject(tmp_path, network, dtype=dtype)

    x0 = made.sample(0, 2)

    assert {x.dtype for x, _ in network.asked} == {made.dtype} == {next(network.parameters()).dtype}
    assert {t.dtype for _, t in network.asked} == {torch.int64}
    assert x0.dtype == torch.float32


def test_channels_last_reaches_the_network_and_ends_there(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            seen.append(x.is_contiguous(memory_format=torch.channels_last))
            out: Tensor = self.layer(x)
            return out

    made = subject(tmp_path, Wide(), memory_format="channels_last")
    pred_x0, eps = made.predict(torch.randn(2, 3, 4, 4), 1)

    assert seen == [True]
    assert eps.is_contiguous()
    assert pred_x0.is_contiguous()


def test_no_timestep_tensor_is_made_twice(tmp_path: Path) -> None:
    network = Network()
    made = subject(tmp_path, network)

    made.sample(0, 2)
    made.sample(2, 4)

    assert len({id(t) for _, t in network.asked}) == 3
    assert [t.tolist() for _, t in network.asked[:4]] == [[9, 9], [5, 5], [5, 5], [0, 0]]


def test_samples_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    made = subject(tmp_path)

    together = made.sample(0, 6)

    for size in (1, 2, 3):
        apart = torch.cat([made.sample(lo, lo + size) for lo in range(0, 6, size)])
        torch.testing.assert_close(apart, together, atol=1e-6, rtol=0)


def test_an_observer_sees_every_step_and_changes_no_bit(tmp_path: Path) -> None:
    made = subject(tmp_path)
    seen: list[tuple[int, int]] = []

    watched = made.sample(0, 2, lambda step, t, x_t, pred_x0: seen.append((step, t)))

    assert seen == [(0, 9), (1, 5), (2, 5), (3, 0)]
    assert torch.equal(watched, made.sample(0, 2))


def test_nothing_records_gradients(tmp_path: Path) -> None:
    made = subject(tmp_path)

    assert made.sample(0, 1).is_inference()
    assert all(each.is_inference() for each in made.predict(torch.zeros(1, *SHAPE), 0))


def test_every_network_call_is_counted(tmp_path: Path) -> None:
    made = subject(tmp_path, sampler=Walk((9, 5, 0), order=2))

    made.sample(0, 2)
    made.predict(torch.zeros(1, *SHAPE), 0)

    assert made.calls.count == 7


def test_the_calls_of_a_walk_are_counted_without_the_network(tmp_path: Path) -> None:
    network = Network()

    assert subject(tmp_path, network, sampler=Walk((9, 5), order=2)).call_timesteps == (9, 9, 5, 5)
    assert subject(tmp_path, network, sampler=None).call_timesteps == tuple(range(9, -1, -1))
    assert network.asked == []


def test_a_network_that_changes_the_shape_is_an_error(tmp_path: Path) -> None:
    made = subject(tmp_path, lambda x, t: torch.cat([x, x], dim=1))

    with pytest.raises(
        MeasurementError, match=r"made \(1, 2, 4, 4\) of \(1, 1, 4, 4\); a denoiser must keep the shape"
    ):
        made.predict(torch.zeros(1, *SHAPE), 0)


def test_a_cell_without_a_sampler_cannot_walk(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="this cell has no sampler; give it one"):
        subject(tmp_path, sampler=None).sample(0, 1)


def test_noised_images_are_those_of_the_data_set_again_and_again(tmp_path: Path) -> None:
    made = subject(tmp_path, data=Ramp())
    abar = made.schedule.alpha_bar(6)

    noised = made.noised(3, 12, 6)

    noise = (noised - math.sqrt(abar) * Ramp()[slice(0, 5)][[3, 4, 0, 1, 2, 3, 4, 0, 1]]) / math.sqrt(1 - abar)
    torch.testing.assert_close(noise, subject(tmp_path).noised(3, 12, 6))
    assert torch.equal(made.noised(5, 6, 6), noised[2:3])
    assert not torch.equal(noise[0], noise[5])


def test_facts_say_where_everything_came_from(tmp_path: Path) -> None:
    prepare_process(Conditions())
    made = replace(
        subject(tmp_path, data=Ramp(), threads=2),
        denoiser=denoiser(weights=Weights("trained", "a.safetensors", "ab" * 32, ema=True, steps=5), paper="toy"),
    )

    facts = made.facts()

    first = made.start(0, 1)[0].numpy().astype("<f4").tobytes()
    assert facts == {
        "weights.origin": "trained",
        "weights.source": "a.safetensors",
        "weights.sha256": "ab" * 32,
        "weights.ema": True,
        "weights.steps": 5,
        "weights.denormals": 0,
        "data.fingerprint": "ramp",
        "data.split": "test",
        "paper": "toy",
        "threads.found": 2,
        "flush_denormal": facts["flush_denormal"],
        "tf32": False,
        "first_noise.sha256": hashlib.sha256(first).hexdigest(),
    }


def test_facts_have_every_key_without_data(tmp_path: Path) -> None:
    prepare_process(Conditions())

    facts = subject(tmp_path).facts()

    assert facts["data.fingerprint"] is None
    assert facts["flush_denormal"] is True


def test_whether_denormals_are_flushed_is_found_by_trying(tmp_path: Path) -> None:
    made = subject(tmp_path)
    torch.set_flush_denormal(False)
    try:
        assert made.facts()["flush_denormal"] is False
    finally:
        torch.set_flush_denormal(True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_denormal_weights_are_counted_by_their_bits(dtype: torch.dtype) -> None:
    prepare_process(Conditions())
    tiny = torch.finfo(dtype).tiny
    smallest = torch.tensor([1, 1 - 2**15 if dtype != torch.float32 else 1 - 2**31], dtype=torch.int64)
    bits = smallest.to(torch.int32 if dtype == torch.float32 else torch.int16).view(dtype)

    assert count_denormals(torch.cat([bits, torch.tensor([0.0, -0.0, tiny, -1.0], dtype=dtype)])) == 2
    assert count_denormals(torch.tensor([1, 0])) == 0


def test_input_files_are_the_checkpoint_and_the_data_with_their_hashes(tmp_path: Path) -> None:
    checkpoint, images = tmp_path / "a.safetensors", tmp_path / "b.idx"
    checkpoint.write_bytes(b"weights")
    images.write_bytes(b"pixels")
    made = replace(subject(tmp_path, data=Ramp(inputs=(images, checkpoint))), denoiser=denoiser(inputs=(checkpoint,)))

    found = made.input_files()

    assert [(each.path, each.size) for each in found] == [(str(checkpoint), 7), (str(images), 6)]
    assert found[0].sha256 == hashlib.sha256(b"weights").hexdigest()
    assert found[0].mtime_ns == checkpoint.stat().st_mtime_ns


def test_an_input_file_that_changed_is_read_again(tmp_path: Path) -> None:
    checkpoint = tmp_path / "a.safetensors"
    made = replace(subject(tmp_path), denoiser=denoiser(inputs=(checkpoint,)))
    checkpoint.write_bytes(b"one")
    made.input_files()
    checkpoint.write_bytes(b"three")

    assert made.input_files()[0].sha256 == hashlib.sha256(b"three").hexdigest()


def test_an_input_file_that_is_gone_is_an_error_that_names_it(tmp_path: Path) -> None:
    made = replace(subject(tmp_path), denoiser=denoiser(inputs=(tmp_path / "gone",)))

    with pytest.raises(MeasurementError, match="gone: cannot be read any more"):
        made.input_files()


def test_a_cell_is_built_placed_and_frozen(registries: Any, tmp_path: Path) -> None:
    made = build(tmp_path, cell(dtype="bfloat16", threads=2))

    network = made.denoiser.network
    assert isinstance(network, Network)
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}
    assert (made.trainable, torch.get_num_threads()) == (10, 2)
    assert made.sample(0, 1).shape == (1, *SHAPE)
    assert (type(made.sampler), type(made.data), made.seed) == (Walk, Ramp, 7)


def test_a_subject_remembers_which_parameters_training_leaves_alone(registries: Any, tmp_path: Path) -> None:
    network = Network()
    network.layer.bias.requires_grad_(False)  # type: ignore[union-attr]
    registries["MODELS"].add("half", lambda: denoiser(network))

    made = build(tmp_path, cell("half"))

    assert made.frozen == {"layer.bias"}
    assert build(tmp_path, cell()).frozen == frozenset()


def test_two_subjects_of_one_cell_give_the_same_samples(registries: Any, tmp_path: Path) -> None:
    one, other = build(tmp_path, cell()), build(tmp_path, cell())

    assert torch.equal(one.sample(0, 2), other.sample(0, 2))


def test_cells_share_a_data_set_but_not_a_network(registries: Any, tmp_path: Path) -> None:
    one, other = build(tmp_path, cell()), build(tmp_path, cell(batch_size=2))

    assert one.data is other.data
    assert one.denoiser.network is not other.denoiser.network


def test_a_cell_may_have_neither_data_nor_sampler(registries: Any, tmp_path: Path) -> None:
    made = build(tmp_path, cell(data=None, sampler=None))

    assert (made.data, made.sampler) == (None, None)


def test_data_of_another_shape_is_unsupported_with_both_shapes(registries: Any, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="'toy' takes 1x4x4 images, but 'wide' has 3x4x4; choose"):
        build(tmp_path, cell(data="wide"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_without_a_device_is_unsupported_with_a_way_out(registries: Any, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="finds no CUDA device here; use device: cpu"):
        build(tmp_path, cell(device="cuda"))


def test_a_sampler_outside_the_chain_is_refused(registries: Any, tmp_path: Path) -> None:
    registries["SAMPLERS"].add("far", lambda schedule: Walk((10, 0)))
    registries["SAMPLERS"].add("empty", lambda schedule: Walk(()))

    with pytest.raises(ParamError, match="visits timestep 10; the model's chain has 0 to 9"):
        build(tmp_path, cell(sampler="far"))
    with pytest.raises(ParamError, match="visits no timestep"):
        build(tmp_path, cell(sampler="empty"))


def test_a_factory_that_gives_something_else_is_named(registries: Any, tmp_path: Path) -> None:
    registries["MODELS"].add("odd", lambda: 3)

    with pytest.raises(UserError, match="model 'odd': its factory gave a int, expected a Denoiser"):
        build(tmp_path, cell(model="odd"))


def test_a_module_that_stays_in_training_mode_is_an_error() -> None:
    class Stubborn(Network):
        def train(self, mode: bool = True) -> Stubborn:
            super().train(True)
            return self

    with pytest.raises(MeasurementError, match="Stubborn is still in training mode after eval"):
        place(Stubborn(), Conditions())


@pytest.mark.parametrize("conditions", [{"dtype": "bfloat16"}, {"device": "cuda"}])
def test_a_plain_function_cannot_be_moved_or_cast(conditions: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match=r"the network is a function, not an nn\.Module"):
        place(lambda x, t: x, Conditions.model_validate(conditions))


def test_process_settings_hold_after_another_cell_changed_them(tmp_path: Path) -> None:
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = True

    prepare_process(Conditions(threads=1))

    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.get_num_threads() == 1


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_samples(registries: Any, tmp_path: Path) -> None:
    import shutil
    import warnings

    if shutil.which("c++") is None:
        pytest.skip("torch.compile needs a C++ compiler")

    class Quiet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            out: Tensor = self.layer(x).tanh()
            return out

    registries["MODELS"].add("quiet", lambda: denoiser(Quiet()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler warns of its own parts
        compiled = build(tmp_path, cell(model="quiet", compile=True))
        fast = compiled.sample(0, 2)

    plain = replace(compiled, compiled=None).sample(0, 2)

    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=0)
    assert compiled.compiled is not None
