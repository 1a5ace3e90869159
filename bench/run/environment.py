"""Where a run happens: everything about this machine and this installation that can change a number.

Torch-free, and read once per process. Nothing here names a person, a host or a folder: facts are chosen from a list.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

from bench.contracts import Scalar
from bench.registry import ENTRY_POINT_GROUP
from bench.store.record import SCHEMA, RunInfo
from bench.version import __version__

PACKAGES = (
    *("torch", "torchvision", "torchdiffeq", "triton", "numpy", "scipy", "scikit-image", "scikit-learn", "pillow"),
    *("lpips", "pytorch-fid", "fvcore", "safetensors", "diffusers", "torch-fidelity", "bm3d", "ray"),
)
"""Packages whose version can change a number, where they are installed."""

VARIABLES = re.compile(
    r"(OMP|GOMP|KMP|MKL|DNNL|ONEDNN|OPENBLAS|CUDA|CUBLAS|CUDNN|NVIDIA|PYTORCH|TORCH|ATEN|MALLOC)_[A-Z0-9_]+"
    r"|LD_PRELOAD|GLIBC_TUNABLES|PYTHONHASHSEED"
)
"""Environment variables that can change a number."""
PRIVATE = re.compile(r"_(HOME|DIR|DIRS|PATH|ROOT|CACHE|FILE|TOKEN|KEY|SECRET|URL|ADDR)$")
"""Of those, the ones that only say where something lies."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Set for every worker from its cells' conditions, whatever they are outside."""

_GIT_TIMEOUT_S = 5.0


def worker_environment(threads: int, device: str) -> dict[str, str]:
    """The environment of a worker process: ours, with its thread count, and importing what we import.

    A worker for the processor sees no CUDA device, so that it cannot make a context on one.
    """
    environment = dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, str(threads))
    environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if Path(entry).is_absolute())
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


def describe_run(suite: str, suite_path: str, suite_text: str, command: str, started: str) -> RunInfo:
    """A run that would begin here and now, still without an id, its commit (see `commit`) and its code's hash (see
    `bench.run.code.all_code`)."""
    return RunInfo(
        schema=SCHEMA,
        id="",
        suite=suite,
        suite_path=suite_path,
        suite_text=suite_text,
        suite_sha256=sha256(suite_text.encode("utf-8", "backslashreplace")).hexdigest(),
        command=command,
        started=started,
        bench_version=__version__,
        code_sha256="",
        git_commit=None,
        git_dirty=None,
        machine=dict(machine()),
        packages=dict(packages()),
        environment=variables(os.environ),
    )


def available_processors() -> int:
    """Processors this process may use."""
    return len(_affinity())


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that can change a number, without those that every worker gets anyway."""
    return {
        name: " ".join(Path(word).name for word in re.split(r"[\s:]+", value)) if name == "LD_PRELOAD" else value
        for name, value in sorted(environment.items())
        if VARIABLES.fullmatch(name) and not PRIVATE.search(name) and name not in THREAD_VARIABLES
    }


@cache
def packages() -> Mapping[str, str]:
    """Versions of Python, of the listed packages and of installed plug-ins."""
    plugins = {point.dist.name for point in entry_points(group=ENTRY_POINT_GROUP) if point.dist is not None}
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for name in (*PACKAGES, *sorted(plugins)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def machine() -> Mapping[str, Scalar]:
    """Facts of the machine that bear on speed, memory or rounding; a fact that cannot be had is left out."""
    facts: dict[str, Scalar | None] = {
        "cpu": cpu_model(_first_lines(Path("/proc/cpuinfo"))) or platform.processor() or None,
        "simd": simd(_first_lines(Path("/proc/cpuinfo"))),
        "architecture": platform.machine(),
        "logical_cores": os.cpu_count(),
        "affinity": ranges(_affinity()),
        "cpu_quota": _cpu_quota(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "os": _os_name(),
        "kernel": platform.release(),
        "governor": _text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "turbo_off": _text(Path("/sys/devices/system/cpu/intel_pstate/no_turbo")),
        "smt": _text(Path("/sys/devices/system/cpu/smt/control")),
        "transparent_hugepages": _chosen(_text(Path("/sys/kernel/mm/transparent_hugepage/enabled"))),
        "virtual": virtualisation(
            _first_lines(Path("/proc/cpuinfo")),
            _text(Path("/sys/class/dmi/id/product_name")),
            container=Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        ),
        "gpu": gpus(_text(file) or "" for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))),
        "gpu_driver": _driver(_text(Path("/proc/driver/nvidia/version")) or ""),
    }
    return {name: value for name, value in facts.items() if value is not None}


def cpu_model(cpuinfo: str) -> str | None:
    """The processor's name, from the text of /proc/cpuinfo."""
    return _field(cpuinfo, "model name") or _field(cpuinfo, "Model") or _field(cpuinfo, "cpu model")


def simd(cpuinfo: str) -> str | None:
    """The vector instructions that libraries choose their kernels by."""
    flags = (_field(cpuinfo, "flags") or _field(cpuinfo, "Features") or "").split()
    known = (
        "avx",
        "avx2",
        "fma",
        "avx512f",
        "avx512_bf16",
        "avx512_fp16",
        "amx_bf16",
        "amx_int8",
        "asimd",
        "sve",
        "bf16",
    )
    return " ".join(flag for flag in known if flag in flags) or None


def virtualisation(cpuinfo: str, product: str | None, *, container: bool) -> str | None:
    """A hint that the machine is shared with others: `virtual machine (KVM), container`; None on plain hardware."""
    hints = []
    if "hypervisor" in (_field(cpuinfo, "flags") or "").split():
        hints.append(f"virtual machine ({product})" if product else "virtual machine")
    if container:
        hints.append("container")
    return ", ".join(hints) or None


def gpus(texts: Iterable[str]) -> str | None:
    """`2 x NVIDIA H200`, from the driver's information files."""
    models = [model for text in texts if (model := _field(text, "Model"))]
    return ", ".join(f"{models.count(model)} x {model}" for model in dict.fromkeys(models)) or None


def ranges(numbers: Iterable[int]) -> str:
    """`0-3,8` for 0 1 2 3 8."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(lo) if lo == hi else f"{lo}-{hi}" for lo, hi in spans)


def commit(suite_path: str) -> tuple[str | None, bool | None]:
    """(commit, whether files differ from it) of this project's clone, or else of the clone the suite lies in.

    (None, None) outside of clones and without git. An installed copy inside of somebody's repository is no clone.
    """
    clone = Path(__file__).parents[2]
    folder = clone if (clone / ".git").exists() else Path(suite_path).absolute().parent
    head = _git(folder, "rev-parse", "HEAD")
    status = None if head is None else _git(folder, "status", "--porcelain", "--untracked-files=no")
    return head, None if status is None else bool(status)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, without touching the repository; None when it says nothing good."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip()


def _affinity() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _cpu_quota() -> float | None:
    """Processors that the container may use on average, where it is limited."""
    words = (_text(Path("/sys/fs/cgroup/cpu.max")) or "").split()
    if len(words) != 2 or words[0] == "max":
        return None
    return int(words[0]) / int(words[1])


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _driver(text: str) -> str | None:
    match = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", text)
    return match[1] if match else None


def _chosen(text: str | None) -> str | None:
    """`madvise` of `always [madvise] never`."""
    match = re.search(r"\[(\w+)\]", text or "")
    return match[1] if match else None


def _field(text: str, name: str) -> str | None:
    """The value behind the first `name : value`."""
    match = re.search(rf"^{re.escape(name)}\s*:[ \t]*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else None


def _first_lines(path: Path) -> str:
    """The first 16 KiB: the first processor of many, without waiting for the others."""
    try:
        with path.open("rb") as file:
            return file.read(16_384).decode("utf-8", "replace")
    except OSError:
        return ""


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
