"""Peak memory: the kernel's mark in a child of a large parent, and phase by phase in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.errors import ParamError, Unsupported
from bench.measure import memory, process_memory
from bench.measure.memory import peak_memory, rehearse
from bench.measure.process_memory import ProcessMemory
from bench.subject import Subject
from bench.suite.schema import Effort

MIB = 2**20
HAS_STATUS = process_memory.process_memory() is not None
needs_status = pytest.mark.skipif(not HAS_STATUS, reason="peaks are read from /proc/self/status")

CHILD = """
import json
from bench.measure.process_memory import process_memory, reset_peak
separable = reset_peak()
before = process_memory()
block = bytearray(256 * 2**20)
block[::4096] = b"x" * len(block[::4096])
del block
after = process_memory()
again = reset_peak() and process_memory()
print(json.dumps([separable, before.resident, after.peak, after.resident, again.peak if again else None]))
"""


@needs_status
def test_a_childs_short_peak_is_seen_and_its_parents_size_is_not() -> None:
    held = bytearray(400 * MIB)
    held[::4096] = b"x" * len(held[::4096])

    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)

    del held
    separable, resident, peak, left, again = json.loads(child.stdout)
    assert peak - resident == pytest.approx(256 * MIB, rel=0.05)
    assert left < resident + 64 * MIB
    assert again is None or again < resident + 64 * MIB
    assert separable == (again is not None)


@needs_status
def test_what_a_walk_needs_is_told_apart_from_what_is_loaded(make_subject: Callable[..., Subject]) -> None:
    if not process_memory.reset_peak():
        pytest.skip("this kernel does not set peaks back")

    def network(x: Tensor, t: Tensor) -> Tensor:
        return x + torch.ones(256 * MIB // 4).sum() * 0

    found = {
        each.at["kind"]: each.values[0] for each in peak_memory(make_subject(network), Effort(warmup=1, repeats=1))
    }

    assert found["steady_peak_minus_loaded"] == pytest.approx(256 * MIB, rel=0.05)
    assert found["steady_peak"] == found["loaded"] + found["steady_peak_minus_loaded"]
    assert found["process_peak"] >= max(found["load_peak"], found["warmup_peak"], found["steady_peak"])


def test_phases_are_the_kernels_marks_between_resets(
    make_subject: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = iter([ProcessMemory(100, 150), ProcessMemory(300, 900), ProcessMemory(280, 400)])
    monkeypatch.setattr(memory, "process_memory", lambda: next(marks))
    monkeypatch.setattr(memory, "reset_peak", lambda: True)

    found = {each.at["kind"]: each.values for each in peak_memory(make_subject(lambda x, t: x), Effort())}

    assert found == {
        "process_peak": (900.0,),
        "loaded": (100.0,),
        "load_peak": (150.0,),
        "warmup_peak": (900.0,),
        "steady_peak": (400.0,),
        "steady_peak_minus_loaded": (300.0,),
    }


def test_where_peaks_cannot_be_set_back_only_the_whole_is_given(
    make_subject: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "process_memory", lambda: ProcessMemory(100, 150))
    monkeypatch.setattr(memory, "reset_peak", lambda: False)

    found = list(peak_memory(make_subject(lambda x, t: x), Effort()))

    assert [each.at["kind"] for each in found] == ["process_peak", "loaded"]
    assert "cannot be told apart" in found[0].warnings[0]


def test_a_network_that_was_called_before_is_remarked_upon(
    make_subject: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "process_memory", lambda: ProcessMemory(100, 150))
    monkeypatch.setattr(memory, "reset_peak", lambda: True)
    subject = make_subject(lambda x, t: x)
    subject.sample(0, 1)

    found = {each.at["kind"]: each.warnings for each in peak_memory(subject, Effort())}

    assert "had been called before" in found["loaded"][0]
    assert found["steady_peak"] == ()


def test_a_system_without_proc_is_unsupported(
    make_subject: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process_memory, "STATUS", tmp_path / "missing")

    with pytest.raises(Unsupported, match="measure it on Linux"):
        list(peak_memory(make_subject(lambda x, t: x), Effort()))


def test_the_kernels_kilobytes_are_1024_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
    monkeypatch.setattr(process_memory, "STATUS", status)

    assert process_memory.process_memory() == ProcessMemory(resident=MIB, peak=2 * MIB)


def test_a_kernel_that_forbids_the_reset_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process_memory, "CLEAR", tmp_path / "no" / "such" / "file")

    assert not process_memory.reset_peak()


@pytest.mark.parametrize(
    ("asked", "made"), [(2, [4, 4, 0, 0]), (0, [4, 3, 2, 1, 0]), (1, [4, 0]), (99, [4, 3, 2, 1, 0])]
)
def test_a_rehearsal_calls_the_network_a_few_times_at_each_stage(
    asked: int, made: list[int], make_subject: Callable[..., Subject]
) -> None:
    called: list[int] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        called.append(int(t[0]))
        return x

    steps = (4, 3, 2, 1, 0) if asked in (0, 99) else (4, 4, 4, 0, 0, 0)
    subject = make_subject(network, timesteps=steps, stage=lambda t: 1 if t >= 2 else 0, num_train_timesteps=5)

    rehearse(subject, 0, asked)

    assert called == made


def test_without_a_sampler_the_calls_alone_are_rehearsed(make_subject: Callable[..., Subject]) -> None:
    called: list[int] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        called.append(int(t[0]))
        return x

    rehearse(make_subject(network, timesteps=None, stage=lambda t: t // 2, batch_size=3), 1, 2)

    assert called == [1, 1, 3, 3]


def test_a_negative_number_of_calls_is_refused(make_subject: Callable[..., Subject]) -> None:
    with pytest.raises(ParamError, match="calls_per_stage must be at least 0, got -1"):
        list(peak_memory(make_subject(lambda x, t: x), Effort(), calls_per_stage=-1))
