"""Whole files are written in one room, so that no write goes through a link and none is left half done."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ELSEWHERE = frozenset(
    {
        "bench/files.py",
        "bench/gate/process.py",  # a log in a temporary folder of its own
        "bench/gate/setting.py",  # the same folder
        "bench/gate/trees.py",  # the same folder
        "bench/measure/process_memory.py",  # a switch of the kernel
        "bench/report/ci.py",  # the job summary, which the environment names and which is appended to
        "bench/run/process.py",  # a log that must not be there yet
    }
)
WRITING_METHODS = frozenset({"write_text", "write_bytes", "touch", "symlink_to", "hardlink_to"})
WRITING_CALLS = frozenset({"save_file", "os.replace", "shutil.copy", "shutil.copyfile", "shutil.copy2", "shutil.move"})


def writes(path: Path) -> Iterator[str]:
    """Every call in a file that writes a file under a name of its own."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        method = name.rpartition(".")[2]
        words = [*node.args, *(word.value for word in node.keywords if word.arg == "mode")]
        modes = [word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)]
        opened = method == "open" and any(set(mode) & set("wax+") and len(mode) <= 3 for mode in modes)
        if method in WRITING_METHODS or name in WRITING_CALLS or method == "save_file" or opened:
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {name}"


def test_whole_files_are_written_in_one_room() -> None:
    files = [path for package in ("bench", "models") for path in sorted((ROOT / package).rglob("*.py"))]

    assert [line for path in files if path.relative_to(ROOT).as_posix() not in ELSEWHERE for line in writes(path)] == []


@pytest.mark.parametrize(
    "line",
    [
        "path.write_text(text)",
        "path.with_name('x').open('wb')",
        "open(path, mode='a')",
        "path.open('x', encoding='ascii')",
        "save_file(tensors, path)",
        "os.replace(one, other)",
    ],
)
def test_a_write_elsewhere_is_noticed(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "a.py").write_text(line)

    assert len(list(writes(tmp_path / "a.py"))) == 1


def test_reading_is_no_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "a.py").write_text("path.open('rb').read(); open(path); text.replace('w', 'a'); file.write(data)")

    assert list(writes(tmp_path / "a.py")) == []
