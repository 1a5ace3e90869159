"""Samples that are the same however they are drawn, kept, cut, killed and asked for again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.contracts import Prediction, ScheduleSpec, Weights
from bench.errors import MeasurementError, NonFiniteOutput
from bench.quality import digits_cnn
from bench.quality.features import real
from bench.quality.generate import check_no_copies, image_hashes, samples_identity, samples_of
from bench.quality.kernels import made_elsewhere
from bench.quality.recipe import SHARD, feature_recipe
from bench.subject import Subject

Build = Callable[..., Subject]


def first(subject: Subject, count: int) -> Tensor:
    return torch.cat([shard.images for shard in samples_of(subject).first(count)])


def seen(subject: Subject) -> int:
    """Images the network was shown."""
    return int(subject.denoiser.network.seen)  # type: ignore[attr-defined]


def test_samples_are_those_of_the_sampler(toy_subject: Build) -> None:
    subject = toy_subject()

    found = first(subject, 100)

    assert found.shape == (100, 1, 16, 16)
    assert torch.equal(found[:SHARD], subject.sample(0, SHARD))
    assert torch.equal(found[SHARD:], subject.sample(SHARD, 2 * SHARD)[:36])


def test_any_order_and_any_number_give_the_same_bits(toy_subject: Build, tmp_path: Path) -> None:
    whole = first(toy_subject(folder=tmp_path / "a"), 200)

    backwards = samples_of(toy_subject(folder=tmp_path / "b"))
    shards = {low: backwards.shard(low).images for low in (128, 0, 192, 64)}
    grown = toy_subject(folder=tmp_path / "c")
    for count in (1, 63, 64, 65, 130):
        assert torch.equal(first(grown, count), whole[:count])

    assert torch.equal(torch.cat([shards[low] for low in sorted(shards)])[:200], whole)


def test_what_was_drawn_is_not_drawn_again(toy_subject: Build) -> None:
    subject = toy_subject()
    drawn = first(subject, 65)
    calls = seen(subject)

    again = toy_subject()

    assert torch.equal(first(again, 128), torch.cat([drawn, first(subject, 128)[65:]]))
    assert calls == 2 * 2 * SHARD  # two shards, two steps
    assert seen(again) == 0


@pytest.mark.parametrize("killed_at", [1, 100, 128, 129, 300, 511])
def test_a_killed_run_goes_on_at_the_next_shard_with_the_same_samples(
    toy_subject: Build, tmp_path: Path, killed_at: int
) -> None:
    whole = [shard.hashes for shard in samples_of(toy_subject(folder=tmp_path / "whole")).first(256)]

    class Killed(BaseException):
        pass

    subject = toy_subject(folder=tmp_path / "killed")
    network: Any = subject.denoiser.network
    forward = network.forward

    def dying(x_t: Tensor, t: Tensor) -> Tensor:
        if network.seen + len(x_t) >= killed_at:
            raise Killed
        return forward(x_t, t)  # type: ignore[no-any-return]

    network.forward = dying
    with pytest.raises(Killed):
        list(samples_of(subject).first(256))
    kept = len(list(samples_of(subject).stage.folder.glob("0*.npz")))

    resumed = toy_subject(folder=tmp_path / "killed")
    found = [shard.hashes for shard in samples_of(resumed).first(256)]

    assert found == whole
    assert kept == (killed_at - 1) // (2 * SHARD)
    assert seen(resumed) == 2 * SHARD * (4 - kept)
    check_no_copies(each for shard in found for each in shard)


CHILD = """
import os, signal, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from conftest import build_toy
from bench.quality.generate import samples_of

subject, after = build_toy(Path(sys.argv[2])), int(sys.argv[3])
network, forward = subject.denoiser.network, subject.denoiser.network.forward

def dying(x_t, t):
    if network.seen + len(x_t) >= after:
        os.kill(os.getpid(), signal.SIGKILL)
    return forward(x_t, t)

network.forward = dying
print([each for shard in samples_of(subject).first(256) for each in shard.hashes], network.seen)
"""


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [129, 400])
def test_kill_minus_nine_loses_at_most_the_shard_in_flight(tmp_path: Path, killed_at: int) -> None:
    def child(folder: str, after: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(tmp_path / folder), str(after)]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    killed, resumed, whole = child("a", killed_at), child("a", 10**9), child("b", 10**9)

    assert killed.returncode == -signal.SIGKILL
    assert resumed.returncode == whole.returncode == 0
    found, drawn = resumed.stdout.rsplit(" ", 1)
    expected, all_drawn = whole.stdout.rsplit(" ", 1)
    assert found == expected
    assert int(all_drawn) - int(drawn) == (killed_at - 1) // (2 * SHARD) * 2 * SHARD


def test_a_damaged_shard_is_drawn_again(toy_subject: Build) -> None:
    subject = toy_subject()
    whole = first(subject, 128)
    file = samples_of(subject).stage.folder / "000001.npz"
    file.write_bytes(file.read_bytes()[:5000])

    assert torch.equal(first(toy_subject(), 128), whole)
    assert file.stat().st_size > 5000


def poisoned(images: NDArray[np.float32], hashes: NDArray[Any]) -> dict[str, dict[str, NDArray[Any]]]:
    altered = images.copy()
    altered[7, 0, 3, 3] += 1e-6
    infinite = images.copy()
    infinite[0, 0, 0, 0] = np.inf
    return {
        "other pixels": {"images": altered, "hashes": hashes},
        "other hashes": {"images": images, "hashes": hashes[::-1].copy()},
        "two images changed places": {"images": images[[1, 0, *range(2, SHARD)]], "hashes": hashes},
        "fewer images": {"images": images[:60], "hashes": hashes[:60]},
        "another shape": {"images": images.reshape(SHARD, 1, 8, 32), "hashes": hashes},
        "another type": {"images": images.astype(np.float64), "hashes": hashes},
        "not finite": {"images": infinite, "hashes": np.array(image_hashes(infinite))},
        "hashes of another type": {"images": images, "hashes": np.arange(SHARD)},
        "no hashes": {"images": images},
    }


@pytest.mark.parametrize("case", poisoned(np.zeros((SHARD, 1, 16, 16), np.float32), np.zeros(SHARD)))
def test_a_poisoned_shard_is_not_believed_even_where_it_is_sealed(toy_subject: Build, case: str) -> None:
    subject = toy_subject()
    whole = first(subject, SHARD)
    stage = samples_of(subject).stage
    part = stage.read("000000", "images", "hashes")
    assert part is not None

    stage.write("000000", {"made_by": np.array("x"), **poisoned(part["images"], part["hashes"])[case]})

    assert samples_of(subject).cached(0) is None
    assert torch.equal(first(toy_subject(), SHARD), whole)
    assert samples_of(subject).cached(0) is not None


CHANGES: dict[str, dict[str, Any]] = {
    "seed": {"seed": 1},
    "model argument": {"model": {"part": 0.6}},
    "timesteps": {"sampler": {"timesteps": 3}},
    "eta": {"sampler": {"eta": 1.0}},
    "dtype": {"dtype": "bfloat16"},
    "memory format": {"memory_format": "channels_last"},
    "threads": {"threads": 2},
}


def test_everything_that_changes_a_sample_changes_its_address(toy_subject: Build) -> None:
    plain = samples_of(toy_subject()).stage.key
    keys = {name: samples_of(toy_subject(**change)).stage.key for name, change in CHANGES.items()}
    denoiser = toy_subject().denoiser
    others = {
        "weights": replace(denoiser, weights=replace(denoiser.weights, sha256="cd" * 32)),
        "raw weights": replace(denoiser, weights=replace(denoiser.weights, ema=False)),
        "schedule": replace(denoiser, schedule=ScheduleSpec("cosine")),
        "prediction": replace(denoiser, prediction=Prediction.EPSILON),
        "network": replace(denoiser, network=nn.Identity()),
    }
    keys |= {name: samples_of(toy_subject(denoiser=other)).stage.key for name, other in others.items()}

    assert len({plain, *keys.values()}) == len(keys) + 1


def test_what_does_not_change_a_sample_does_not_change_its_address(toy_subject: Build, tmp_path: Path) -> None:
    plain = samples_of(toy_subject()).stage.key

    for change in ({"model": {"weights": "/elsewhere/toy.safetensors"}}, {"batch_size": 7}):
        assert samples_of(toy_subject(**change)).stage.key == plain
    # Defaults that are spelt out are still defaults.
    assert samples_of(toy_subject(model={"part": 0.5}, sampler={"eta": 0.0})).stage.key == plain


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("torch.backends.cpu.get_cpu_capability", lambda: "AVX512"),
        ("bench.quality.kernels.cpu", lambda: {"maker": "other", "flags": "avx2 avx512f"}),
        ("torch.__version__", "9.9.9"),
        ("torch.__config__.show", lambda: "  - Intel(R) MKL-DNN v9.9.9\n"),
        ("torch.are_deterministic_algorithms_enabled", lambda: True),
    ],
)
def test_samples_of_other_kernels_have_an_address_of_their_own(
    toy_subject: Build, monkeypatch: pytest.MonkeyPatch, where: str, change: Any
) -> None:
    plain, features = samples_of(toy_subject()).stage.key, features_key(toy_subject())

    monkeypatch.setattr(where, change)

    assert samples_of(toy_subject()).stage.key != plain
    assert features_key(toy_subject()) != features


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_DEFAULT_FPMATH_MODE", "MKL_CBWR", "NVIDIA_TF32_OVERRIDE"])
def test_variables_that_choose_kernels_are_part_of_the_address_and_others_are_not(
    toy_subject: Build, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plain = samples_of(toy_subject()).stage.key

    monkeypatch.setenv("ONEDNN_VERBOSE", "1")
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    assert samples_of(toy_subject()).stage.key == plain
    monkeypatch.setenv(name, "SSE41")
    assert samples_of(toy_subject()).stage.key != plain


def features_key(subject: Subject) -> str:
    how = feature_recipe("tf", "digits-cnn", digits_cnn.SHA256, channels=1)
    assert subject.data is not None
    return real(subject.data, how, subject.workspace.cache_dir, "cpu").stage.key


def test_samples_that_another_machine_drew_say_so_where_they_are_used(
    toy_subject: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {shard.made_by for shard in samples_of(toy_subject()).first(100)}

    monkeypatch.setattr("bench.quality.kernels.processor_name", lambda cpuinfo: "Another 9000")
    makers = {shard.made_by for shard in samples_of(toy_subject()).first(200)}

    assert makers == {*here, "Another 9000"}
    (sentence,) = made_elsewhere(makers, "cpu")
    assert sentence == f"part of it was made on another machine with the same kernels, {here.pop()}, and kept"


def test_large_images_are_drawn_in_small_batches_that_are_part_of_the_address(toy_subject: Build) -> None:
    subject = toy_subject()
    large = replace(subject, denoiser=replace(subject.denoiser, image_shape=(3, 64, 64)))

    assert samples_identity(subject)["batch"] == SHARD
    assert samples_identity(large)["batch"] == 8
    assert first(large, 3).shape == (3, 3, 64, 64)


def test_samples_that_are_not_finite_name_the_image(toy_subject: Build) -> None:
    class Diverging(nn.Module):
        def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
            out = x_t.clone()
            out[3] = torch.inf
            return out

    subject = toy_subject()

    with pytest.raises(NonFiniteOutput, match="sample 3 is not finite"):
        first(replace(subject, denoiser=replace(subject.denoiser, network=Diverging())), 10)


def test_copies_are_refused_with_their_number() -> None:
    images = np.random.default_rng(0).standard_normal((5, 1, 4, 4)).astype(np.float32)
    copied = np.concatenate([images, images[1:3]])

    check_no_copies(image_hashes(images))
    with pytest.raises(MeasurementError, match="2 of 7 samples are copies of others"):
        check_no_copies(image_hashes(copied))


def test_weights_without_a_hash_cannot_be_kept(toy_subject: Build) -> None:
    subject = toy_subject()
    unknown = replace(subject, denoiser=replace(subject.denoiser, weights=Weights("trained")))

    with pytest.raises(MeasurementError, match="have no SHA-256"):
        samples_of(unknown)
    with pytest.raises(MeasurementError, match="need a cell with a sampler"):
        samples_of(replace(subject, sampler=None))
