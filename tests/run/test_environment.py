"""What is recorded of a machine and an installation, and what is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.run import environment
from bench.run.environment import (
    cpu_model,
    describe_run,
    gpus,
    ranges,
    simd,
    variables,
    virtualisation,
    worker_environment,
)

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Processor @ 2.10GHz
flags\t\t: fpu avx avx2 fma avx512f hypervisor amx_bf16

processor\t: 1
model name\t: another
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd sve bf16\nModel\t\t: Raspberry Pi 5\n"


def test_processor_is_the_first_one_named() -> None:
    assert cpu_model(X86) == "Intel(R) Xeon(R) Processor @ 2.10GHz"
    assert cpu_model(ARM) == "Raspberry Pi 5"
    assert cpu_model("") is None


def test_vector_instructions_are_those_that_choose_kernels() -> None:
    assert simd(X86) == "avx avx2 fma avx512f amx_bf16"
    assert simd(ARM) == "asimd sve bf16"
    assert simd("") is None


@pytest.mark.parametrize(
    ("cpuinfo", "product", "container", "hint"),
    [
        (ARM, None, False, None),
        (X86, None, False, "virtual machine"),
        (X86, "KVM", True, "virtual machine (KVM), container"),
        (ARM, "X", True, "container"),
    ],
)
def test_shared_machines_are_hinted_at(cpuinfo: str, product: str | None, container: bool, hint: str | None) -> None:
    assert virtualisation(cpuinfo, product, container=container) == hint


def test_gpus_are_named_by_the_driver() -> None:
    text = "Model: \t\t NVIDIA H200\nIRQ:   \t\t 5\n"

    assert gpus([text, text]) == "2 x NVIDIA H200"
    assert gpus([]) is None


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([3], "3"), ([0, 1, 2, 3], "0-3"), ([8, 0, 1, 10, 11], "0-1,8,10-11")]
)
def test_processors_are_written_as_ranges(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text


def test_only_variables_that_change_a_number_are_recorded_and_none_that_tells_a_secret() -> None:
    found = variables(
        {
            "MKL_CBWR": "AVX2",
            "OMP_PROC_BIND": "close",
            "OMP_NUM_THREADS": "7",
            "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
            "LD_PRELOAD": "/home/alice/lib/libtcmalloc.so:/opt/b.so",
            "TORCH_HOME": "/home/alice/torch",
            "CUDA_PATH": "/usr/local/cuda",
            "NVIDIA_API_KEY": "secret",
            "HOME": "/home/alice",
            "HOSTNAME": "alices-laptop",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
    )

    assert found == {
        "LD_PRELOAD": "libtcmalloc.so b.so",
        "MKL_CBWR": "AVX2",
        "OMP_PROC_BIND": "close",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    }


def test_run_page_is_the_same_each_time_and_names_no_person_host_or_folder() -> None:
    one, other = (describe_run("toy", "toy.yaml", "suite: toy", "bench run toy.yaml", "now") for _ in range(2))

    assert one == other
    assert one.suite_sha256 != describe_run("toy", "toy.yaml", "suite: toy ", "bench run", "now").suite_sha256
    text = f"{one.machine} {one.packages} {one.environment}"
    for private in (str(Path.home()), os.uname().nodename, os.environ.get("USER", "no such user")):
        assert len(private) < 6 or private not in text


def test_machine_and_packages_say_the_least_a_stranger_needs() -> None:
    info = describe_run("toy", "toy.yaml", "", "", "now")

    assert {"architecture", "logical_cores", "affinity", "memory_bytes", "os", "kernel"} <= set(info.machine)
    assert {"python", "torch", "numpy"} <= set(info.packages)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_commit_and_changes_of_the_clone_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "bench" / "run" / "environment.py"))
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "x")

    clean = environment.commit("suite.yaml")
    (tmp_path / "file").write_text("2")
    dirty = environment.commit("suite.yaml")

    assert len(clean[0] or "") == 40
    assert (clean[1], dirty) == (False, (clean[0], True))


def test_outside_of_a_clone_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "site-packages" / "bench" / "run" / "environment.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    assert environment.commit(str(tmp_path / "suite.yaml")) == (None, None)


def test_worker_gets_its_threads_our_imports_and_no_cuda_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setattr(sys, "path", ["", "relative", "/a", "/b"])

    cpu, cuda = worker_environment(3, "cpu"), worker_environment(1, "cuda")

    assert (cpu["OMP_NUM_THREADS"], cpu["MKL_NUM_THREADS"], cuda["OMP_NUM_THREADS"]) == ("3", "3", "1")
    assert (cpu["CUDA_VISIBLE_DEVICES"], cuda["CUDA_VISIBLE_DEVICES"]) == ("", "1")
    assert cpu["PYTHONPATH"] == "/a:/b"


def test_running_room_starts_without_torch() -> None:
    code = "import sys, bench.run.runner, bench.run.worker; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
