"""The shape of the house: imports go one way, and the reading half never touches torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RANK = {
    "errors": 0,
    "terminal": 0,
    "units": 0,
    "version": 0,
    "contracts": 1,
    "files": 1,
    "outlook": 1,
    "code_identity": 2,
    "vocabulary": 1,
    "downloads": 1,
    "passport": 2,
    "registry": 2,
    "suite": 3,
    "store": 3,
    "diffusion": 3,
    "data": 3,
    "fetch": 3,
    "subject": 4,
    "analysis": 4,
    "measure": 5,
    "quality": 5,
    "train": 5,
    "verdict": 5,
    "run": 6,
    "report": 6,
    "gate": 7,
    "api": 7,
    "cli": 8,
    "__main__": 9,
}
MODELS_MAY_IMPORT = {"contracts", "files", "registry", "errors", "passport", "version", "downloads", "outlook"}
EVERYWHERE = {("store", "suite.schema"), ("verdict", "quality.score_names"), ("contracts", "files")}
"""Pairs of rooms of one rank that share one thing: a cell is defined once, a score is named once, a file is hashed in
one way."""


def bench_imports(path: Path) -> Iterator[str]:
    """Every `bench.x.y` a file imports, at module level or inside a function, as `x.y`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "bench" else [node.module]
        yield from (name.removeprefix("bench.") for name in names if name.startswith("bench."))


def violations(root: Path) -> Iterator[str]:
    for path in sorted((root / "bench").rglob("*.py")):
        room = path.relative_to(root / "bench").with_suffix("").parts[0]
        if room in ("__init__", "models"):
            continue
        for target in bench_imports(path):
            to = target.split(".")[0]
            shared = any(room == one and target.startswith(other) for one, other in EVERYWHERE)
            if to != room and not shared and RANK[room] <= RANK[to]:
                yield f"{path.relative_to(root)} imports bench.{target}, which is not below {room}"


def test_every_room_imports_only_rooms_below_it() -> None:
    assert list(violations(ROOT)) == []


def test_the_rule_notices_an_upward_import(tmp_path: Path) -> None:
    (tmp_path / "bench" / "store").mkdir(parents=True)
    (tmp_path / "bench" / "store" / "bad.py").write_text("from bench.report import page\n")

    assert list(violations(tmp_path)) == ["bench/store/bad.py imports bench.report, which is not below store"]


def test_models_import_only_the_contracts() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports bench.{target}"
        for path in sorted((ROOT / "models").rglob("*.py"))
        for target in bench_imports(path)
        if target.split(".")[0] not in MODELS_MAY_IMPORT | {"models"}
    ]

    assert wrong == []


def test_bench_never_imports_models_by_name() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "bench").rglob("*.py"))
        if path.relative_to(ROOT / "bench").parts[0] not in ("models", "__init__.py")  # the folder, and the front door
        for target in bench_imports(path)
        if target.split(".")[0] == "models"
    ]

    assert wrong == []


def test_nothing_needs_a_package_named_models_or_suites() -> None:
    """Research repositories have a `models` of their own: ours is `bench.models`, and never the other name."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in ("bench", "models", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in imported(node)
        if name.split(".")[0] in ("models", "suites")
    ]

    assert wrong == []


def imported(node: ast.AST) -> list[str]:
    """The modules an import statement names; relative ones are ours."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module and node.level == 0 else []


@pytest.mark.parametrize(
    "modules",
    [
        "bench.cli",
        "bench.report.page",
        "bench.verdict.compare",
        "bench.api, bench.report.notebook",
        "bench.gate.driver",
        "bench.store.frame",
        "bench.suite.expand",
        "bench.models, bench.models.catalogue, bench.models.missing_u, bench.models.baselines",
        "bench.data.catalogue, bench.diffusion.catalogue, bench.measure.catalogue, bench.quality.catalogue",
    ],
)
def test_the_reading_half_and_the_catalogues_start_without_torch(modules: str) -> None:
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


FORBIDDEN_CALLS = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "time.time": "wall clocks jump; use time.perf_counter",
    "yaml.load": "builds objects; the suite reader composes plain data",
    "pickle.load": "runs code from a file",
    "pickle.loads": "runs code from a file",
    "torch.jit.load": "runs code from a file",
}


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


@pytest.mark.parametrize("package", ["bench", "models"])
def test_no_code_is_run_from_data_and_no_duration_is_taken_from_the_wall_clock(package: str) -> None:
    wrong = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name, keywords = called(node), {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name in FORBIDDEN_CALLS:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}: {FORBIDDEN_CALLS[name]}")
            if name == "torch.load" and keywords.get("weights_only") != "True":
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: torch.load without weights_only=True")
            if keywords.get("allow_pickle") == "True" or keywords.get("shell") == "True":
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name} with allow_pickle or shell")

    assert wrong == []
