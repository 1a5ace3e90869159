"""Memory is that of the machine and of everything that limits this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.run.spare_memory import spare_fraction

GIB = 1 << 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine of 8 GiB with 6 GiB free."""
    put(
        tmp_path / "proc/meminfo",
        f"MemTotal: {8 * GIB // 1024} kB\nMemFree: 1 kB\nMemAvailable: {6 * GIB // 1024} kB\n",
    )
    return tmp_path


def put(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def second_version(root: Path, group: str, limit: object, used: int, cache: int = 0) -> None:
    put(root / "proc/self/cgroup", f"0::{group}")
    folder = root / "sys/fs/cgroup" / group.lstrip("/")
    put(folder / "memory.max", limit)
    put(folder / "memory.current", used)
    put(folder / "memory.stat", f"anon 5\ninactive_file {cache}")


def test_without_limits_the_machine_decides(root: Path) -> None:
    assert spare_fraction(root) == 0.75


def test_a_machine_that_says_nothing_has_memory_to_spare(tmp_path: Path) -> None:
    assert spare_fraction(tmp_path) == 1.0


@pytest.mark.parametrize("group", ["/", "/user.slice/job"])
def test_the_limit_of_a_control_group_counts(root: Path, group: str) -> None:
    second_version(root, group, GIB, GIB * 9 // 10)

    assert spare_fraction(root) == pytest.approx(0.1)


def test_the_limit_of_the_group_around_it_counts_too(root: Path) -> None:
    second_version(root, "/job/worker", "max", GIB // 2)
    put(root / "sys/fs/cgroup/job/memory.max", GIB)
    put(root / "sys/fs/cgroup/job/memory.current", GIB // 2)

    assert spare_fraction(root) == pytest.approx(0.5)


def test_files_that_were_not_read_lately_leave_room(root: Path) -> None:
    second_version(root, "/", GIB, GIB, cache=GIB // 2)

    assert spare_fraction(root) == pytest.approx(0.5)


def test_more_in_use_than_allowed_leaves_nothing(root: Path) -> None:
    second_version(root, "/", GIB, 2 * GIB)

    assert spare_fraction(root) == 0.0


@pytest.mark.parametrize("folder", ["docker/abc", ""])
def test_the_first_version_of_control_groups_is_understood_inside_and_outside_of_a_container(
    root: Path, folder: str
) -> None:
    put(root / "proc/self/cgroup", "5:cpu:/docker/abc\n4:memory:/docker/abc\n0::/")
    put(root / "sys/fs/cgroup/memory" / folder / "memory.limit_in_bytes", GIB)
    put(root / "sys/fs/cgroup/memory" / folder / "memory.usage_in_bytes", GIB // 4 * 3)

    assert spare_fraction(root) == pytest.approx(0.25)


def test_the_largest_number_of_the_first_version_is_no_limit(root: Path) -> None:
    put(root / "proc/self/cgroup", "4:memory:/")
    put(root / "sys/fs/cgroup/memory/memory.limit_in_bytes", 9223372036854771712)
    put(root / "sys/fs/cgroup/memory/memory.usage_in_bytes", GIB)

    assert spare_fraction(root) == 0.75
