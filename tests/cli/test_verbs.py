"""The command line as a person or a script meets it: answers, one-line errors, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.errors import ExitCode

SUITE = """\
schema: 1
suite: tiny
title: Two small cells
effort: {warmup: 0, repeats: 1, rounds: 1, processes: 1}
grid:
  - model: {name: skip-unet, weights: random, skip_exponent: {each: [0, 2]}}
    sampler: {name: ddim, timesteps: 2}
metrics: [parameters, nfe]
"""
RECIPE = """\
schema: 1
recipe: tiny
title: Three steps on digits
model: {name: skip-unet, skip: zero, skip_exponent: 0}
data: {name: digits, split: train}
scheme: {depths: uniform}
train: {steps: 3, batch_size: 2}
"""


@pytest.fixture(autouse=True)
def restored_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--data` sets BENCH_DATA for the rest of the process; take that back after each test."""
    monkeypatch.setenv("BENCH_DATA", os.environ.get("BENCH_DATA", ""))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    return path


def bench(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`bench` in a process of its own, as a shell would start it."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False
    )


def answer(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """The exit code, standard output and standard error of one verb, in this process."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_help_names_every_verb_and_exit_code() -> None:
    found = bench("--help")

    assert found.returncode == 0
    for word in ("plan", "run", "report", "list", "inspect", "train", "schema", "exit codes", "130"):
        assert word in found.stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["plan", "speedup"], ["plan", "speedup", "--json"], ["schema"]]
)
def test_looking_does_not_import_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from bench.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_plan_prints_every_cell_and_json_says_the_same(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = answer(capsys, "plan", suite)
    _, said, _ = answer(capsys, "plan", suite, "--json")
    plan = json.loads(said)

    assert code == ExitCode.OK
    assert plan["cells"] == len(plan["rows"]) == 2
    assert all(row["cell"] in text for row in plan["rows"])


def test_k_narrows_the_plan(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, said, _ = answer(capsys, "plan", suite, "--json", "-k", "skip_exponent=2")

    assert [row["factors"] for row in json.loads(said)["rows"]] == [{}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SUITE.replace("metrics:", "metrcs:"), "did you mean 'metrics'?"),
        (SUITE.replace("skip-unet", "skip-nuet"), "did you mean 'skip-unet'?"),
        (SUITE.replace("weights: random", "weigths: random"), "did you mean 'weights'?"),
        (SUITE.replace("timesteps: 2", "timesteps: two"), "timesteps: expected a whole number, got 'two'"),
        (SUITE + "suite: again\n", "the key stands twice"),
        ("[" * 600, "tiny.yaml:1:"),
        ("", "the file is empty"),
    ],
)
def test_a_broken_suite_ends_with_its_place_and_exit_code_2(
    suite: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    suite.write_text(text)

    code, out, err = answer(capsys, "plan", suite)

    assert code == ExitCode.BAD_INPUT
    assert out == ""
    assert f"bench: {suite}:" in err and message in err and "Traceback" not in err


def test_an_unknown_suite_offers_the_built_in_ones(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = answer(capsys, "plan", "speedpu")

    assert code == ExitCode.BAD_INPUT
    assert "did you mean 'speedup'?" in err


def test_list_shows_arguments_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = answer(capsys, "list", "models", "--json")
    models = {each["name"]: each for each in json.loads(said)["models"]}

    assert code == ExitCode.OK
    assert models["skip-unet"]["parameters"]["skip"] == "zero"
    assert models["skip-unet"]["summary"]


def test_inspect_counts_the_published_network(capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = answer(capsys, "inspect", "ddpm-unet", "config=cifar10", "weights=random", "--json")
    facts = json.loads(said)

    assert code == ExitCode.OK
    assert facts["parameters"]["total"] == 35_746_307


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "ddpm-nuet"], "did you mean 'ddpm-unet'?"),
        (["inspect", "ddpm-unet", "weights"], "expected KEY=VALUE"),
        (["inspect", "ddpm-unet", "config=imagenet"], "expected one of 'digits', 'cifar10', got 'imagenet'"),
        (["inspect", "ddpm-unet", "weights=random", "--shape", "3x32"], "expected CxHxW"),
        (["inspect", "ddpm-unet", "weights=random", "--shape", "1x15x15"], "cannot take a 1x15x15 image"),
        (["inspect", "ddpm-unet", "weights=/nowhere.safetensors"], "/nowhere.safetensors"),
        (["report", "/nowhere"], "no run in there"),
        (["train", "no-such-recipe"], "shipped recipes:"),
        (["plan", "speedup", "--plugin", "/nowhere.py"], "no such file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, _, err = answer(capsys, *arguments)

    assert code == ExitCode.BAD_INPUT
    assert message in err
    assert len(err.splitlines()) == 1 and err.startswith("bench: ")


def test_a_run_measures_reports_and_then_has_nothing_left_to_do(suite: Path, tmp_path: Path) -> None:
    first = bench("run", suite, "--results", tmp_path / "results", "--json")
    again = bench("run", suite, "--results", tmp_path / "results", "--json")
    pages = [Path(page) for page in json.loads(first.stdout)["report"]]

    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert json.loads(first.stdout)["measured"] == 4
    assert json.loads(again.stdout)["measured"] == 0
    assert {page.suffix for page in pages} >= {".md", ".html"}
    assert "Two small cells" in pages[0].read_text()


def test_a_cell_without_its_weights_fails_alone_and_the_run_exits_3(suite: Path, tmp_path: Path) -> None:
    suite.write_text(SUITE.replace("weights: random,", "weights: {each: [random, /nowhere.safetensors]},"))

    found = bench("run", suite, "--results", tmp_path / "results", "--json", "--no-report")

    assert found.returncode == ExitCode.SOME_FAILED
    assert json.loads(found.stdout)["ok"] == 4
    assert "Traceback" not in found.stderr


def test_a_file_in_place_of_the_results_folder_exits_4(suite: Path, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")

    found = bench("run", suite, "--results", tmp_path / "results")

    assert found.returncode == ExitCode.CANNOT_SAVE
    assert str(tmp_path / "results") in found.stderr and "Traceback" not in found.stderr


def test_ctrl_c_exits_130_and_the_same_command_continues(tmp_path: Path) -> None:
    suite = tmp_path / "slow.yaml"
    suite.write_text(SUITE.replace("[parameters, nfe]", "[parameters, latency]").replace("rounds: 1", "rounds: 400"))
    command = [sys.executable, "-m", "bench", "run", str(suite), "--results", str(tmp_path / "results"), "--no-report"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("results/slow/*/records.jsonl")) and not list(
        tmp_path.glob("results/tiny/*/records.jsonl")
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == ExitCode.INTERRUPTED
    assert "the same command continues" in err and "Traceback" not in err


def test_train_writes_weights_a_passport_and_samples_and_then_is_done(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE)

    first = bench("train", recipe, "--out", tmp_path / "out", "--no-samples")
    again = bench("train", recipe, "--out", tmp_path / "out", "--no-samples")

    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert "step 3 of 3" in first.stderr and "step" not in again.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"tiny.safetensors", "tiny.json"}


def test_a_broken_recipe_reports_every_mistake_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE.replace("steps: 3", "steps: 0").replace("recipe: tiny", "recipe: Tiny!"))

    code, _, err = answer(capsys, "train", recipe)

    assert code == ExitCode.BAD_INPUT
    assert f"{recipe}:2:9: recipe:" in err
    assert f"{recipe}:7:16: train.steps: must be at least 1, got 0" in err


def test_output_into_a_closed_pipe_is_not_an_error() -> None:
    found = subprocess.run(
        f"{sys.executable} -m bench schema | head -c 10", shell=True, capture_output=True, text=True, check=False
    )

    assert found.returncode == 0
    assert found.stderr == ""


def test_fetch_without_a_name_lists_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = answer(capsys, "fetch", "--json", "--data", tmp_path)
    known = json.loads(said)

    assert code == ExitCode.OK
    assert {"inception", "ddpm-cifar10", "mnist", "cifar10", "lpips-alex"} <= set(known)
    assert not any(each["there"] for each in known.values())


def test_fetch_without_a_network_says_what_to_put_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = answer(capsys, "fetch", "lpips-squeeze", "--data", tmp_path, "--mirror", "http://127.0.0.1:9/")

    assert code == ExitCode.BAD_INPUT
    assert str(tmp_path / "weights") in err and "sha256:" in err
    assert "Traceback" not in err


def images_in(folder: Path, count: int, seed: int) -> Path:
    """Digits-sized grey images, made from a seed."""
    from PIL import Image

    folder.mkdir()
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 16, 16), dtype=np.uint8)
    for index, each in enumerate(pixels):
        Image.fromarray(each).save(folder / f"{index}.png")
    return folder


def test_fid_of_two_folders_says_what_the_number_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = images_in(tmp_path / "a", 80, 0), images_in(tmp_path / "b", 90, 1)

    code, said, _ = answer(capsys, "fid", a, b, "--features", "digits-cnn", "--json")
    found = json.loads(said)
    _, same, _ = answer(capsys, "fid", a, a, "--features", "digits-cnn", "--json")

    assert code == ExitCode.OK
    assert found["name"] == "frechet[digits-cnn]" and found["images"] == [80, 90]
    assert found["value"] > 0 and abs(json.loads(same)["value"]) < 1e-6 < found["value"]
    assert found["recipe"]["fingerprint"]


def test_fid_without_the_network_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = images_in(tmp_path / "a", 3, 0)

    code, _, err = answer(capsys, "fid", a, a, "--data", tmp_path / "nothing")

    assert code == ExitCode.BAD_INPUT
    assert "bench fetch inception" in err


def test_fid_names_the_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = images_in(tmp_path / "a", 3, 0)
    (a / "1.png").write_bytes(b"not a picture")

    code, _, err = answer(capsys, "fid", a, a, "--features", "digits-cnn")

    assert code == ExitCode.BAD_INPUT
    assert "1.png" in err and "Traceback" not in err
