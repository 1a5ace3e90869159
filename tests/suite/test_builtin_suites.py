from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.downloads import DOWNLOADS
from bench.suite.read import builtin_suites

SUITES = Path(__file__).parents[2] / "suites"

EXPECTED_CELLS = {
    "adjoint": 8,
    "drawing": 9,
    "efficiency": 11,
    "levels": 4,
    "paper/schedules": 80,
    "paper/skip_fid": 24,
    "schedules": 44,
    "skip_fid": 24,
    "smoke": 4,
    "speedup": 20,
}
"""How many cells each suite makes; a suite that grows says so here."""

EXPAND = """
import sys
from bench.registry import load_builtins
from bench.suite.expand import expand
from bench.suite.plan import plan_rows
from bench.suite.read import builtin_suites, read_suite
from bench.suite.select import select

load_builtins()
for name in builtin_suites():
    suite = read_suite(name)
    cells = expand(suite)
    assert len(plan_rows(select(cells, []))) == len(cells)
    print(name, suite.suite, len(cells), len({cell.id for cell in cells}))
print([name for name in sys.modules if name.partition(".")[0] in ("torch", "torchvision", "pandas", "matplotlib")])
"""


def test_built_in_suites_are_the_yaml_files_beside_the_published_numbers() -> None:
    found = {path.relative_to(SUITES).with_suffix("").as_posix() for path in SUITES.rglob("*.yaml")}

    assert set(builtin_suites()) == {name for name in found if not name.startswith("published/")}
    assert set(EXPECTED_CELLS) == set(builtin_suites())


def test_every_built_in_suite_expands_to_its_stated_count_without_torch() -> None:
    run = subprocess.run([sys.executable, "-c", EXPAND], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    *lines, heavy = run.stdout.splitlines()
    assert lines == [
        f"{name} {name.replace('/', '-')} {count} {count}" for name, count in sorted(EXPECTED_CELLS.items())
    ]
    assert heavy == "[]"


@pytest.mark.parametrize("name", sorted(EXPECTED_CELLS))
def test_every_suite_points_editors_at_the_schema(name: str) -> None:
    text = (SUITES / f"{name}.yaml").read_text("utf-8")
    up = "../" * name.count("/")

    assert text.startswith(f"# yaml-language-server: $schema={up}suite.schema.json\n")


def test_speedup_is_table_2_of_the_paper() -> None:
    suite = yaml.safe_load((SUITES / "speedup.yaml").read_text("utf-8"))

    (block,) = suite["grid"]
    assert block["model"]["skip"]["each"] == ["zero", "duplicate", "interpolate", "interpolate-coded"]
    assert block["model"]["skip_exponent"]["each"] == [0, 1, 2, 3, 5]
    assert suite["tables"][0]["published"] == {"paper": "adaptive-skip", "table": "2"}
    assert suite["conditions"] == {"device": "cpu", "threads": 1, "batch_size": 1, "dtype": "float32"}


def test_skip_fid_is_table_1_of_the_paper() -> None:
    suite = yaml.safe_load((SUITES / "skip_fid.yaml").read_text("utf-8"))

    plain, trained, _ = (block["model"] for block in suite["grid"])
    assert plain["weights"] == "digits-ddpm-unet"
    assert trained["skip"]["each"] == ["zero", "duplicate", "interpolate"]
    assert plain["skip_exponent"] == trained["skip_exponent"] == {"each": [0, 1, 2, 3, 5]}
    assert suite["tables"][0]["published"] == {"paper": "adaptive-skip", "table": "1"}


def test_schedules_pairs_twice_the_steps_with_the_plain_network() -> None:
    """As table 3 of the paper: eta 0, 0.5, 1 and the DDPM row, on evenly and on quadratically spaced timesteps."""
    suite = yaml.safe_load((SUITES / "schedules.yaml").read_text("utf-8"))

    for ours, plain in zip(suite["grid"][::2], suite["grid"][1::2], strict=True):
        assert (ours["model"]["name"], plain["model"]["name"]) == ("skip-unet", "ddpm-unet")
        for accelerated, ordinary in zip(ours["sampler"]["each"], plain["sampler"]["each"], strict=True):
            twice = [2 * steps for steps in ordinary["timesteps"]["each"]]
            assert accelerated == {**ordinary, "timesteps": {"each": twice}}
    assert suite["grid"][0]["sampler"]["each"][0]["eta"] == {"each": [0, 0.5, 1]}
    assert [block["sampler"]["each"][0]["spacing"] for block in suite["grid"]] == ["leading"] * 2 + ["ddim_quad"] * 2
    assert suite["tables"][0]["published"] == {"paper": "adaptive-skip", "table": "3"}


def refs(node: object) -> Iterator[dict[str, Any]]:
    """Every model or sampler of a block, out of its axes."""
    if isinstance(node, dict) and "each" in node:
        for each in node["each"]:
            yield from refs(each)
    elif isinstance(node, dict):
        yield node


@pytest.mark.parametrize("name", ["paper/skip_fid", "paper/schedules"])
def test_suites_of_the_paper_are_at_its_settings(name: str) -> None:
    suite = yaml.safe_load((SUITES / f"{name}.yaml").read_text("utf-8"))
    frechet = suite["metrics"][0]

    assert (frechet["images"], frechet["features"], frechet["recipe"]) == (50000, "inception", "paper-a")
    for block in suite["grid"]:
        assert block["data"]["name"] == "cifar10"
        assert [model["config"] for model in refs(block["model"])] == ["cifar10"] * len(list(refs(block["model"])))


def test_suites_of_the_paper_have_the_shape_of_those_on_digits() -> None:
    for name in ("skip_fid", "schedules"):
        ours, theirs = (
            yaml.safe_load((SUITES / f"{each}.yaml").read_text("utf-8")) for each in (name, f"paper/{name}")
        )

        assert theirs["reproduces"] == ours["reproduces"]
        for part in ("tables", "figures"):
            assert [each["id"] for each in theirs[part]] == [each["id"] for each in ours[part]]
        assert [claim["id"] for claim in theirs["claims"]] == [claim["id"] for claim in ours["claims"]]


def test_the_papers_table_3_has_every_column_it_prints() -> None:
    suite = yaml.safe_load((SUITES / "paper/schedules.yaml").read_text("utf-8"))
    ours, plain = suite["grid"]

    assert ours["model"] == {
        "name": "skip-unet", "config": "cifar10", "skip": "zero", "skip_exponent": 2,
        "weights": "cifar10-skip-zero-aligned",
    }  # fmt: skip
    for block, timesteps in ((ours, [20, 40, 100, 200, 1000]), (plain, [10, 20, 50, 100, 1000])):
        ddim, ddpm = refs(block["sampler"])
        assert ddim["timesteps"]["each"] == ddpm["timesteps"]["each"] == timesteps
        assert ddim["spacing"]["each"] == ddpm["spacing"]["each"] == ["leading", "ddim_quad"]
        assert ddim["eta"]["each"] == [0, 0.5, 1]
        assert (ddpm["variance"], ddpm["clip_x0"], ddim["clip_x0"]) == ("beta", True, False)


def test_weights_that_a_suite_of_the_paper_needs_can_be_fetched_or_trained() -> None:
    recipes = SUITES.parent / "models" / "recipes"
    for name in ("paper/skip_fid", "paper/schedules"):
        suite = yaml.safe_load((SUITES / f"{name}.yaml").read_text("utf-8"))
        for model in (model for block in suite["grid"] for model in refs(block["model"])):
            for weights in model["weights"]["each"] if isinstance(model["weights"], dict) else [model["weights"]]:
                if weights in DOWNLOADS:
                    continue
                recipe = yaml.safe_load((recipes / f"{weights}.yaml").read_text("utf-8"))
                assert (recipe["recipe"], recipe["model"]["config"]) == (weights, "cifar10")
                assert recipe["model"]["skip"] == model["skip"]
