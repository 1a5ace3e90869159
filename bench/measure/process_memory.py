"""What the kernel says about this process's memory. Torch-free.

The high-water mark is the kernel's own, so the shortest peak is in it, and it is this process's alone: `ru_maxrss`
starts a child at the peak of its parent. It can be set back, which separates the phases of a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What to write into clear_refs to set the high-water mark back to what is resident now (Linux 4.0)."""


@dataclass(frozen=True)
class ProcessMemory:
    """Bytes of this process in physical memory."""

    resident: int
    """Now."""
    peak: int
    """The most since the process began, or since the last successful `reset_peak`."""


def process_memory() -> ProcessMemory | None:
    """Read the kernel's figures; None where there is no /proc/self/status (not Linux)."""
    try:
        text = STATUS.read_text()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if "VmRSS" not in fields or "VmHWM" not in fields:
        return None
    return ProcessMemory(_bytes(fields["VmRSS"]), _bytes(fields["VmHWM"]))


def reset_peak() -> bool:
    """Set the high-water mark back to what is resident now; False where the kernel does not let us."""
    try:
        CLEAR.write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def _bytes(text: str) -> int:
    """`   123 kB` as the kernel writes it; its kB are 1024 bytes."""
    return int(text.split()[0]) * 1024
