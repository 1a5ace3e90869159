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
RECIPES = SUITES.parent / "models" / "recipes"

EXPECTED_CELLS = {
    "ablations": 6,
    "adjoint": 8,
    "denoising": 36,
    "drawing": 9,
    "efficiency": 11,
    "levels": 4,
    "methods": 66,
    "paper/denoising": 24,
    "paper/schedules": 80,
    "paper/skip_fid": 24,
    "paper/synthesis-celeba": 120,
    "paper/synthesis-lsun-church": 120,
    "paper/synthesis-mnist": 180,
    "schedules": 44,
    "skip_fid": 24,
    "smoke": 4,
    "speedup": 20,
    "synthesis": 48,
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


SETS = {"mnist": "mnist-64", "celeba": "celeba-64", "lsun-church": "lsun-church-64"}
"""Suites of table 1 of the continuous U-Net at the paper's settings, and where their images lie."""


def test_synthesis_is_table_1_of_the_paper_with_equal_grids_for_all() -> None:
    suite = yaml.safe_load((SUITES / "synthesis.yaml").read_text("utf-8"))

    (block,) = suite["grid"]
    ddpm, ddim = refs(block["sampler"])
    assert [model["name"] for model in refs(block["model"])] == ["lucid-unet", "cunet", "cunet-released"]
    assert (ddpm["name"], ddim["name"], ddim["eta"]) == ("ddpm", "ddim", 0)
    assert ddpm["timesteps"] == ddim["timesteps"]
    assert ddpm["spacing"] == ddim["spacing"] == "trailing"
    assert suite["tables"][0]["published"] == {"paper": "missing-u", "table": "1"}


def test_the_chosen_step_is_never_chosen_on_the_images_that_are_reported() -> None:
    suite = yaml.safe_load((SUITES / "synthesis.yaml").read_text("utf-8"))

    honest, oracle = suite["tables"][1]["values"][:2]
    assert honest["at"] == oracle["at"] == {"statistic": "half_b"}
    assert honest["chosen"]["by"]["at"] == {"statistic": "half_a"}
    assert oracle["chosen"]["by"]["at"] == {"statistic": "half_b"}
    for claim in suite["claims"]:
        if "chosen" in claim["value"]:
            assert claim["value"]["chosen"]["by"]["at"] == {"statistic": "half_a"}


@pytest.mark.parametrize("data", SETS)
def test_synthesis_at_the_papers_settings_has_its_grid_images_and_weights(data: str) -> None:
    ours, theirs = (
        yaml.safe_load((SUITES / f"{name}.yaml").read_text("utf-8"))
        for name in ("synthesis", f"paper/synthesis-{data}")
    )

    (block,) = theirs["grid"]
    steps = list(range(1, 31)) if data == "mnist" else list(range(5, 101, 5))
    assert [sampler["timesteps"]["each"] for sampler in refs(block["sampler"])] == [steps, steps]
    assert (block["data"]["name"], block["data"]["path"], block["data"]["image_size"]) == ("folder", SETS[data], 64)
    frechet = theirs["metrics"][0]
    assert (frechet["images"], frechet["features"], frechet["recipe"]) == (30000, "inception", "paper-b")
    for model in refs(block["model"]):
        recipe = yaml.safe_load((RECIPES / f"{model['weights']}.yaml").read_text("utf-8"))
        assert {**recipe["model"], "weights": recipe["recipe"]} == model
        assert {**recipe["data"]} == block["data"]
    for part in ("tables", "figures", "claims"):
        assert [each["id"] for each in theirs[part]] == [each["id"] for each in ours[part]]
    assert [metric if isinstance(metric, str) else metric["name"] for metric in theirs["metrics"]] == [
        metric if isinstance(metric, str) else metric["name"] for metric in ours["metrics"]
    ]


@pytest.mark.parametrize("suite", ["synthesis", "ablations"])
def test_networks_that_are_compared_had_one_budget_of_training(suite: str) -> None:
    names = {
        "synthesis": ["lucid-unet", "cunet", "cunet-released"],
        "ablations": [
            "lucid-unet",
            "cunet",
            "cunet-released",
            "cunet-released-no-attention",
            "cunet-released-no-residual-released",
            "cunet-released-no-attention-no-residual-released",
        ],
    }[suite]
    recipes = [yaml.safe_load((RECIPES / f"digits-{name}.yaml").read_text("utf-8")) for name in names]

    for part in ("data", "scheme", "train", "optimizer", "store_dtype", "seed"):
        assert all(recipe[part] == recipes[0][part] for recipe in recipes), part


def test_efficiency_has_every_variant_that_table_5_could_mean() -> None:
    suite = yaml.safe_load((SUITES / "efficiency.yaml").read_text("utf-8"))

    models = [block["model"] for block in suite["grid"]]
    assert all((model["config"], model["weights"]) == ("paper", "random") for model in models)
    assert [model["name"] for model in models] == ["lucid-unet", *3 * ["cunet-released"], "cunet"]
    assert models[1]["attention"] == models[2]["attention"] == {"each": ["two", "five", "none"]}
    assert [model.get("blocks") for model in models[1:4]] == [None, "no-residual-released", "no-residual"]
    assert models[4]["adjoint"] == {"each": [False, True]}
    assert [table.get("published", {}).get("table") for table in suite["tables"][:2]] == ["5", "figure-6"]


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
