"""Which kernels compute here: what decides, besides the code and the numbers put in, about the last bits that come out.

Two machines of which all of this is the same are taken to give the same bits.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

from bench.contracts import Scalar

FLAGS = re.compile(r"avx\w*|fma\w*|f16c|amx_\w+|asimd\w*|sve\w*|bf16|i8mm|fphp")
"""Instructions that oneDNN and MKL choose their kernels by, as /proc/cpuinfo names them."""
VARIABLES = re.compile(
    r"(ONEDNN|DNNL)_(MAX_CPU_ISA|CPU_ISA_HINTS|DEFAULT_FPMATH_MODE)|MKL_(CBWR|ENABLE_INSTRUCTIONS|DEBUG_CPU_TYPE)"
    r"|NVIDIA_TF32_OVERRIDE|(CUBLAS|CUBLASLT|CUDNN)_(?!LOG)\w+|TORCH_(ALLOW_TF32|BLAS|CUBLAS|CUDNN|LINALG)\w*"
)
"""Environment variables that choose kernels."""
LIBRARIES = re.compile(
    r"^ *- (.*(?:Math Kernel Library|MKL-DNN|oneDNN|OpenBLAS|CuDNN|CUDA Runtime|Arm Compute).*)$", re.M
)
"""In `torch.__config__.show()`."""


def kernels(device: str, *, compiled: bool = False) -> dict[str, Scalar]:
    """Everything about this machine and its libraries that can change the bits of a result on `device` (cpu or cuda).

    compiled: whether torch.compile makes kernels, whose compiler then counts too.
    """
    common: dict[str, Scalar] = {
        "torch": torch.__version__,
        "libraries": "; ".join(sorted(LIBRARIES.findall(torch.__config__.show()))),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        **{name: value for name, value in sorted(os.environ.items()) if VARIABLES.fullmatch(name)},
    }
    if compiled:
        common["triton"] = package_version("triton")
    if device == "cuda":
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        return common | {
            "gpu": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return common | {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "onednn": bool(torch.backends.mkldnn.enabled),
        "threads": torch.get_num_threads(),
        **cpu(),
    }


def machine_name(device: str) -> str:
    """The processor or the GPU that computes on `device`; two machines of one name are not told apart."""
    name = torch.cuda.get_device_name() if device == "cuda" else processor_name(_cpuinfo())
    return name or platform.machine()


def made_elsewhere(makers: Iterable[str], device: str) -> tuple[str, ...]:
    """A sentence for each machine other than this one that made something a number is of."""
    here = machine_name(device)
    return tuple(
        f"part of it was made on another machine with the same kernels, {maker}, and kept"
        for maker in sorted({*makers} - {here})
    )


def cpu() -> dict[str, Scalar]:
    """The maker and the vector instructions of the processor."""
    return cpu_facts(_cpuinfo())


def cpu_facts(cpuinfo: str) -> dict[str, Scalar]:
    """The same of the text of /proc/cpuinfo. MKL looks at the maker, too."""
    fields = _cpu_fields(cpuinfo)
    flags = fields.get("flags", fields.get("Features", "")).split()
    maker = fields.get("vendor_id", fields.get("CPU implementer"))
    return {"maker": maker, "flags": " ".join(sorted(flag for flag in set(flags) if FLAGS.fullmatch(flag)))}


def processor_name(cpuinfo: str) -> str:
    fields = _cpu_fields(cpuinfo)
    return next((fields[name] for name in ("model name", "Model", "cpu model") if fields.get(name)), "")


def package_version(package: str) -> str | None:
    """None where it is not installed."""
    try:
        return str(metadata.version(package))
    except metadata.PackageNotFoundError:
        return None


def _cpu_fields(cpuinfo: str) -> dict[str, str]:
    """Of the first processor, but for what stands after all of them."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields


@cache
def _cpuinfo() -> str:
    """The first 16 KiB; nothing where the system does not say."""
    try:
        with Path("/proc/cpuinfo").open("rb") as file:
            return file.read(16_384).decode("utf-8", "replace")
    except OSError:
        return ""
