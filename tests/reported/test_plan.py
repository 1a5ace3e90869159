"""What `bench plan` must find before a run does, with its place in the file, and without ever taking long."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.cli import main
from bench.cli.planning import outlook
from bench.contracts import Restorer
from bench.data.places import count_images
from bench.errors import BenchError, ExitCode, SuiteError, Unsupported, UserError
from bench.models.checkpoints.places import shipped_names, shipped_path
from bench.models.skip_schedule import num_skipped_levels, skip_boundaries
from bench.outlook import ModelFacts, Pictures
from bench.quality import catalogue, judging
from bench.quality.score_names import SCORE_NAMES, ScoreName
from bench.quality.scores import prepare_score
from bench.registry import (
    DATASETS,
    METRICS,
    MODELS,
    SAMPLERS,
    Registry,
    broken_plugins,
    check_params,
    load_builtins,
    load_plugins,
)
from bench.report.check import report_problems
from bench.suite.expand import expand, survey
from bench.suite.fits import fit_problems
from bench.suite.read import builtin_suites, builtin_text, parse_suite, read_suite

HEAD = """\
schema: 1
suite: s
title: A title
grid:
"""
DIGITS = "  - model: {name: skip-unet, skip_exponent: 2}\n    data: digits\n    sampler: {name: ddim, timesteps: 10}\n"
TOY = """\
import torch
from torch import nn
from bench import Denoiser, Prediction, ScheduleSpec, Weights, register_dataset, register_model, register_sampler

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x_t, t):
        return self.layer(x_t)

@register_model("net")
def net(origin: str = "trained", steps: int = 1000, fault: str = "", schedule: str = "linear", subject: int = 1,
        effort: float = 1.0) -> Denoiser:
    assert schedule in ("linear", "cosine")
    if fault == "raise":
        raise RuntimeError("a broken factory")
    if fault == "type":
        return 5
    weights = Weights(origin, sha256="0" * 64 if fault == "hash" else None)
    return Denoiser(Net().eval(), (1, 16, 16), Prediction.EPSILON, ScheduleSpec(num_train_timesteps=steps), weights)

class Few:
    image_shape, fingerprint, split, inputs = (1, 16, 16), "f", "test", ()
    def __len__(self):
        return 5
    def __getitem__(self, index):
        return torch.zeros(5, 1, 16, 16)[index]

@register_dataset("few")
def few():
    return Few()
"""


def text(body: str = DIGITS, metrics: str = "[parameters]", **more: str) -> str:
    return HEAD + body + f"metrics: {metrics}\n" + "".join(f"{key}: {value}\n" for key, value in more.items())


@pytest.fixture
def plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """The exit code and standard error of `bench plan`."""

    def run(suite: str, *words: str | Path) -> tuple[int, str]:
        path = tmp_path / "s.yaml"
        path.write_text(suite)
        code = main(["plan", str(path), "--results", str(tmp_path / "none"), *map(str, words)])
        return code, capsys.readouterr().err.replace(str(path), "s.yaml")

    return run


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A plug-in that registers `net` and `few`, for one test."""
    path = tmp_path / "toy.py"
    path.write_text(TOY)
    return path


# What does not fit


@pytest.mark.parametrize(
    ("suite", "place", "sentence"),
    [
        (text(DIGITS.replace("10", "0")), "7:38: grid[0].sampler.timesteps", "must be between 1 and 1,000,000, got 0"),
        (text(DIGITS.replace("10", "1001")), "7:14: grid[0].sampler", "timesteps must be between 1 and the 1000"),
        (text(DIGITS.replace("10", "10, eta: 1.5")), "7:47: grid[0].sampler.eta", "must be between 0 and 1, got 1.5"),
        (text(DIGITS.replace("10", "10, eta: -0.1")), "7:47:", "must be between 0 and 1"),
        (
            text(DIGITS.replace("{name: ddim, timesteps: 10}", "{name: chain, t_start: 2000}")),
            "7:14: grid[0].sampler",
            "t_start must be between 1 and the 1000",
        ),
        (text(DIGITS.replace("digits", "photos")), "6:11: grid[0].data", "1x16x16 images, but 'photos' has 3x32x32"),
        (
            text(
                DIGITS.replace("2}", "2, config: cifar10, weights: random}").replace(
                    "digits", "{name: folder, path: ., image_size: 16}"
                )
            ),
            "6:11: grid[0].data",
            "takes 3x32x32 images, but 'folder' has 3x16x16",
        ),
        (text(metrics="[{name: frechet, images: 1}]"), "8:35:", "must be between 2 and 1,000,000, got 1"),
        (text(metrics="[{name: frechet, replicates: 1}]"), "8:11: metrics[0]", "2 replicates at least"),
        (text(metrics="[{name: frechet, recipe: paper-a-as-coded, images: 500}]"), "8:11:", "whole batches of 512"),
        (text(metrics="[{name: frechet, images: 3, halves: true}]"), "8:11:", "halves of 3 images"),
        (text(metrics="[nfe, {name: kid, images: 50, subset_size: 51}]"), "8:16: metrics[1]", "does not fit into 50"),
        (text(metrics="[{name: frechet_infinity, images: 20}]"), "8:11:", "needs 2 images a block"),
        (text(metrics="[{name: precision_recall, images: 3}]"), "8:11:", "more than 3 images on each side"),
        (text(metrics="[{name: denoising, images: 401}]"), "8:11:", "the data set has 400 in this split"),
        (text(metrics="[{name: samples, scale: 64, images: 1000}]"), "8:11:", "at most 4,194,304 are drawn"),
        (text(metrics='[{name: denoising, scores: ["lpips[alex]"]}]'), "8:11:", "at least 31x31 pixels"),
        (text(metrics="[{name: denoising_pictures, score: ssim, frames: 25}]"), "8:59:", "must be between 2 and 24"),
        (text(metrics="[{name: macs, counters: [fvcore, fvcore]}]"), "8:34:", "'fvcore' stands twice"),
        (text(DIGITS.replace("exponent: 2", "exponent: -1")), "5:45:", "must be between 0 and 1000, got -1"),
        (text("  - model: {name: cunet, weights: random, width: 12}\n"), "5:12:", "must be a multiple of 8"),
        (text("  - model: {name: cunet, weights: random, width: 2048}\n"), "5:12:", "more than 2,048 channels"),
        (text("  - model: {name: lucid-unet, weights: random, image_size: 18}\n"), "5:12:", "cannot be halved"),
        (text(conditions="{device: 'cuda:99'}"), "9:22: conditions.device", "expected 'cpu' or 'cuda'"),
        (text(conditions="{batch_size: 0}"), "9:26: conditions.batch_size", "at least 1"),
        (text(seed="-1"), "9:7: seed", "at least 0"),
    ],
)  # fmt: skip
def test_what_a_run_would_find_out_cell_by_cell_is_refused_with_its_place(
    plan: Callable[..., tuple[int, str]], suite: str, place: str, sentence: str
) -> None:
    code, err = plan(suite)

    assert code == ExitCode.BAD_INPUT
    assert f"bench: s.yaml:{place}" in err and sentence in err


def test_pictures_that_the_classifier_cannot_judge_are_refused(plan: Callable[..., tuple[int, str]]) -> None:
    body = DIGITS.replace("2}", "2, config: cifar10, weights: ddpm-cifar10}").replace("digits", "cifar10")

    code, err = plan(text(body, "[nfe, frechet]"))

    assert code == ExitCode.BAD_INPUT
    assert "s.yaml:8:16: metrics[1]: frechet: features 'digits-cnn' judge 1x16x16 digits only" in err


def test_every_mistake_of_a_suite_is_said_at_once_with_its_place(plan: Callable[..., tuple[int, str]]) -> None:
    body = (
        "  - model: {name: skip-unet, skp: zero}\n"
        "  - model: {name: ddpm-unet}\n    data: photos\n    metrics: [flops, {name: denoising, imges: 5}]\n"
        "  - model: {name: ddpm-unet, weights: random}\n    sampler: {name: ddim, eta: 2}\n"
    )
    table = "[{id: t, caption: C, rows: model, values: [{metric: fid}], published: {paper: no-such, table: x}}]"

    code, err = plan(text(body, "[nonsense]", tables=table))

    assert code == ExitCode.BAD_INPUT
    places = (
        "5:30: grid[0].model.skp", "7:11: grid[1].data", "8:15: grid[1].metrics[0]", "10:32: grid[2].sampler.eta",
        "8:40: grid[1].metrics[1].imges", "11:11: metrics[0]", "12:", "no-such",
    )  # fmt: skip
    for part in places:
        assert part in err, (part, err)


def test_a_mistake_in_a_type_does_not_hide_wrong_names(plan: Callable[..., tuple[int, str]]) -> None:
    _, err = plan(text(metrics="[fid]", seed="x"))

    assert "metrics[0]: no metric named 'fid'" in err and "seed: expected a whole number" in err


# Plug-ins


@pytest.mark.parametrize(
    ("model", "more", "sentence"),
    [
        ("net", "frechet", "its factory must give Weights(sha256=...)"),
        ("{name: net, fault: raise}", "nfe", "cannot be built: RuntimeError: a broken factory"),
        ("{name: net, fault: type}", "nfe", "its factory gave a int, expected a Denoiser or a Restorer"),
        ("{name: net, steps: 9}", "nfe", "timesteps must be between 1 and the 9 training timesteps, got 10"),
        ("net", "{name: denoising, images: 6}", "6 images are asked for, and the data set has 5"),
        ("net", "{name: frechet, reference: train}", "has no split 'train', only test; use reference: own"),
    ],
)
def test_a_plug_in_that_declares_nothing_is_built_and_asked(
    model: str, more: str, sentence: str, plan: Callable[..., tuple[int, str]], toy: Path
) -> None:
    body = f"  - model: {model}\n    data: few\n    sampler: {{name: ddim, timesteps: 10}}\n"

    code, err = plan(text(body, f"[{more}]"), "--plugin", toy)

    assert code == ExitCode.BAD_INPUT
    assert sentence in err


def test_a_plug_in_with_named_weights_and_arguments_called_like_the_harness_s_own_is_planned(
    plan: Callable[..., tuple[int, str]], toy: Path
) -> None:
    model = "{name: net, fault: hash, schedule: cosine, subject: 3, effort: 0.5}"
    body = f"  - model: {model}\n    data: digits\n    sampler: {{name: ddim, timesteps: 10}}\n"

    assert plan(text(body, "[frechet]"), "--plugin", toy) == (ExitCode.OK, "")


def no_arguments() -> None:
    """A factory."""


def with_rest(**rest: object) -> None:
    """A factory."""


def with_positional(a: int, /) -> None:
    """A factory."""


def with_name(name: str = "x") -> None:
    """A factory."""


def keyword_only(*, schedule: object) -> None:
    """A factory."""


@pytest.mark.parametrize(
    ("kind", "factory", "sentence"),
    [
        ("sampler", no_arguments, r"its first arguments must be \(schedule\)"),
        ("sampler", keyword_only, r"its first arguments must be \(schedule\)"),
        ("metric", with_positional, r"its first arguments must be \(subject, effort\)"),
        ("model", with_rest, r"\*\*rest.* has no name that a suite could write"),
        ("model", with_positional, "has no name that a suite could write"),
        ("data set", with_name, "no argument can be called 'name'"),
    ],
)
def test_a_factory_that_no_suite_could_call_is_refused_when_it_is_registered(
    kind: str, factory: Callable[..., object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        Registry(kind).add("x", factory)


@pytest.mark.parametrize(
    ("plugin", "content", "sentence"),
    [
        ("", None, "--plugin is empty"),
        (".x", None, "neither a .py file nor the name of a module"),
        ("no_such_module_here", None, "give a .py file or a module name"),
        ("a b", None, "neither a .py file nor the name of a module"),
        ("x.py", None, "no such file"),
        ("x.py", "import sys; sys.exit(1)", "cannot be imported: SystemExit: 1"),
        ("x.py", "def", "cannot be imported: SyntaxError"),
        ("x.py", "1 / 0", "cannot be imported: ZeroDivisionError"),
        ("x.py", "from bench import register_model\n@register_model('m')\ndef m(name=1): ...", "can be called 'name'"),
        ("plugged", "1 / 0", "cannot be imported: ZeroDivisionError"),
        ("plugged", "raise SystemExit(1)", "cannot be imported: SystemExit"),
    ],
)
def test_a_plug_in_that_cannot_be_loaded_is_one_sentence(
    plugin: str, content: str | None, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / f"{plugin.removesuffix('.py')}.py").write_text(content)

    with pytest.raises(UserError, match=sentence.replace("(", r"\(")):
        load_plugins([plugin])


def test_two_plug_in_files_with_one_stem_are_both_loaded(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "twin_plugin.py")
        files[-1].write_text(f"from bench import register_dataset\n@register_dataset('twin-{name}')\ndef d(): ...\n")

    load_plugins(map(str, [*files, *files]))
    assert "twin-one" in DATASETS and "twin-two" in DATASETS


def test_a_broken_installed_plug_in_stops_only_who_needs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from importlib.metadata import EntryPoint

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_package.py").write_text("1 / 0")
    point = EntryPoint("broken", "broken_package", "bench.plugins")
    monkeypatch.setattr("bench.registry.entry_points", lambda group: [point])
    monkeypatch.setattr("bench.registry._installed", {})

    code, said = main(["list", "models"]), capsys.readouterr()
    missing = main(["inspect", "its-model"]), capsys.readouterr().err

    assert code == ExitCode.OK and "ddpm-unet" in said.out
    assert "note: the installed plug-in 'broken'" in said.err and "ZeroDivisionError" in said.err
    assert missing[0] == ExitCode.BAD_INPUT and "cannot be loaded" in missing[1]
    assert broken_plugins()


# Words


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("fid", "{name: frechet, features: inception}"),
        ("FID", "{name: frechet, features: inception}"),
        ("flops", "macs"),
        ("GFLOPs", "macs"),
        ("params", "parameters"),
        ("num_params", "parameters"),
        ("latency_ms", "latency"),
        ("memory", "peak_memory"),
        ("throughput", "latency"),
        ("lpips", "{name: denoising"),
        ("Latency", "latency"),
    ],
)
def test_the_field_s_word_for_a_metric_points_to_the_name_it_has_here(word: str, meant: str) -> None:
    load_builtins()

    with pytest.raises(BenchError, match="no metric named") as refused:
        METRICS.get(word)

    assert meant in str(refused.value).partition("(known:")[0]


def test_every_word_points_to_something_that_is_there() -> None:
    from bench import vocabulary

    load_builtins()
    for word in (*vocabulary._METRICS, *vocabulary._NOT_HERE):
        sentence = vocabulary.other_words("metric", word)
        assert word not in METRICS
        assert any(name in sentence for name in METRICS.names()), (word, sentence)


def test_a_question_mark_in_a_list_is_told_to_be_quoted(plan: Callable[..., tuple[int, str]]) -> None:
    table = "[{id: t, caption: C, rows: [sampler, sampler.karras?], values: [{metric: parameters}]}]"

    _, err = plan(text(tables=table))

    assert "s.yaml:9:" in err and 'is written in quotes: "sampler.karras?"' in err


# Checkpoints


@pytest.mark.parametrize(
    "params",
    [
        {"name": "ddpm-unet"},
        {"name": "skip-unet", "config": "cifar10"},
        {"name": "lucid-unet"},
        {"name": "lucid-unet", "config": "photos", "width": 16},
        {"name": "cunet"},
        {"name": "cunet", "attention": "none", "residual": False},
        {"name": "cunet", "config": "photos", "attention": "five"},
        {"name": "cunet-released"},
        {"name": "cunet-released", "attention": "none", "norm": "group"},
        {"name": "cunet-released", "config": "photos", "attention": "five"},
        {"name": "cunet-released", "blocks": "no-residual-released"},
        {"name": "conv-autoencoder"},
        {"name": "dncnn", "depth": 5},
    ],
    ids=str,
)
def test_the_landmarks_of_a_network_are_its_own_tensors_and_no_other_s(params: dict[str, str | int]) -> None:
    load_builtins()
    entry = MODELS.get(str(params["name"]))
    given = check_params(entry, {**{k: v for k, v in params.items() if k != "name"}, "weights": "random"})
    model = entry.factory(**given)
    network = model.restore if isinstance(model, Restorer) else model.network
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}  # type: ignore[union-attr]

    fitting = []
    for name in shipped_names():
        if name == "digits-cnn":
            continue
        wrong = entry.outlook.wrong_weights
        assert wrong is not None
        refused = list(wrong(**{**given, "weights": str(shipped_path(name))}))
        own = shapes == {key: t.shape for key, t in _header(shipped_path(name)).items()}
        assert not (own and refused), (name, refused)
        if not refused:
            fitting.append(name)
            assert own, name


def _header(path: Path) -> dict[str, object]:
    from bench.models.checkpoints.contents import check_contents
    from bench.models.checkpoints.safetensors_file import safetensors_contents
    from bench.models.checkpoints.source import open_source

    with open_source(path) as source:
        return dict(check_contents(source, safetensors_contents(source)).tensors)


def test_weights_of_another_network_are_refused_without_torch(tmp_path: Path) -> None:
    path = shipped_path("digits-lucid-unet")
    (tmp_path / "s.yaml").write_text(text(f"  - model: {{name: skip-unet, weights: {path}}}\n"))
    code = "import sys; from bench.cli import main; sys.exit(10 * main(['plan', 's.yaml']) + ('torch' in sys.modules))"

    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert found.returncode == 20
    assert "s.yaml:5:39: grid[0].model.weights" in found.stderr and "made for another network" in found.stderr


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x00" * 100])
def test_a_file_that_is_no_checkpoint_is_refused(
    content: bytes, plan: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    (tmp_path / "w.pt").write_bytes(content)

    code, err = plan(text(f"  - model: {{name: skip-unet, weights: {tmp_path / 'w.pt'}}}\n"))

    assert code == ExitCode.BAD_INPUT
    assert "grid[0].model.weights" in err and "w.pt" in err


def test_half_a_state_dict_of_torch_is_told_from_a_whole_one(
    plan: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    load_builtins()
    network = MODELS.get("skip-unet").factory(weights="random").network  # type: ignore[union-attr]
    state = network.state_dict()  # type: ignore[union-attr]
    torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}}, tmp_path / "whole.pt")
    torch.save({key: tensor for key, tensor in state.items() if not key.startswith("mid.")}, tmp_path / "half.pt")

    whole = plan(text(f"  - model: {{name: skip-unet, weights: {tmp_path / 'whole.pt'}}}\n"))
    half = plan(text(f"  - model: {{name: skip-unet, weights: {tmp_path / 'half.pt'}}}\n"))

    assert whole == (ExitCode.OK, "")
    assert half[0] == ExitCode.BAD_INPUT and "missing 'mid.block_1.conv1.weight'" in half[1]


# Declarations against what is built


@pytest.mark.parametrize("score", [name for name in SCORE_NAMES if not name.startswith("lpips")])
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16), (3, 6, 8), (3, 7, 7), (3, 10, 12), (3, 11, 11), (1, 1, 1),
                                   (2, 16, 16)])  # fmt: skip
def test_a_score_that_a_plan_refuses_is_one_that_a_run_refuses(score: ScoreName, shape: tuple[int, int, int]) -> None:
    refused = bool(judging._unscorable(score, shape))
    try:
        prepare_score(score, torch.full((2, *shape), 0.5))
        possible = True
    except Unsupported:
        possible = False

    assert refused == (not possible)


def test_the_smallest_pictures_of_lpips_are_those_of_its_networks() -> None:
    from bench.quality.perceptual import LEAST_SIZE

    assert {f"lpips[{net}]": least for net, least in LEAST_SIZE.items()} == {
        name: least for name, least in judging.LEAST_SIDE.items() if name.startswith("lpips")
    }


@pytest.mark.parametrize(("name", "params"), [("digits", {}), ("digits", {"split": "train"}), ("photos", {}),
                                              ("photos", {"split": "all"})])  # fmt: skip
def test_a_data_set_is_what_it_declares(name: str, params: dict[str, str]) -> None:
    load_builtins()
    entry = DATASETS.get(name)
    given = check_params(entry, params)
    assert entry.outlook.facts is not None

    data, facts = entry.factory(**given), entry.outlook.facts(**given)

    assert (data.image_shape, len(data)) == (facts.image_shape, facts.count)


@pytest.mark.parametrize("name", ["ddpm-unet", "skip-unet", "lucid-unet", "cunet", "cunet-released", "conv-autoencoder",
                                  "dncnn", "noisy"])  # fmt: skip
def test_a_model_is_what_it_declares(name: str) -> None:
    load_builtins()
    entry = MODELS.get(name)
    given = check_params(entry, {"weights": "random"} if name != "noisy" else {})
    assert entry.outlook.facts is not None

    model, facts = entry.factory(**given), entry.outlook.facts(**given)

    assert facts == ModelFacts(model.image_shape, model.schedule.num_train_timesteps)


def test_a_metric_does_not_object_to_what_it_does_not_know() -> None:
    unknown = Pictures(None, None, lambda split: None, None)
    load_builtins()
    for entry in METRICS:
        if entry.outlook.objections is not None:
            assert list(entry.outlook.objections(unknown, **check_params(entry, {}))) == []
    assert catalogue.NEEDS


@pytest.mark.parametrize("name", builtin_suites())
def test_every_suite_that_ships_is_planned_without_a_mistake(name: str) -> None:
    load_builtins()
    suite = read_suite(name)
    expansion = survey(suite)

    assert (*expansion.problems, *report_problems(suite), *fit_problems(suite, expansion, expansion.cells)) == ()


# Time


@pytest.mark.parametrize("exponent", ["1e5", "1e9", "1e300", "1001", "9223372036854775807"])
@pytest.mark.parametrize("verb", ["plan", "inspect"])
def test_an_exponent_whose_power_would_never_end_is_refused(
    exponent: str, verb: str, plan: Callable[..., tuple[int, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    begin = time.process_time()

    if verb == "plan":
        code, err = plan(text(DIGITS.replace("exponent: 2", f"exponent: {exponent}")))
    else:
        code, err = main(["inspect", "skip-unet", f"skip_exponent={exponent}"]), capsys.readouterr().err

    assert code == ExitCode.BAD_INPUT and "must be between 0 and 1000" in err
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    "numbers",
    [
        "model: {name: cunet, width: 1000000000}", "model: {name: cunet, depth: 1000000000000}",
        "model: {name: cunet, steps: 1000000000000}", "model: {name: cunet, tolerance: 1e-300}",
        "model: {name: lucid-unet, channels: 1000000000}", "model: {name: dncnn, depth: 9223372036854775807}",
        "model: {name: lucid-unet, image_size: 1000000000000000}", "model: {name: conv-autoencoder, width: 1000000}",
        "model: ddpm-unet\n    sampler: {name: ddpm, timesteps: 1000000000000}",
        "model: ddpm-unet\n    sampler: {name: chain, t_start: 10, stride: 1000000000000}",
        "model: ddpm-unet\n    data: {name: folder, path: x, image_size: 1000000000}",
        "model: ddpm-unet\n    metrics: [{name: frechet, images: 1000000000000000}]",
        "model: ddpm-unet\n    metrics: [{name: kid, subsets: 1000000000}]",
        "model: ddpm-unet\n    metrics: [{name: step_time, calls_per_value: 1000000000}]",
        "model: ddpm-unet\n    metrics: [{name: peak_memory, calls_per_stage: 1000000000}]",
        "model: ddpm-unet\n    metrics: [{name: denoising, replicates: 1000000000}]",
        "model: ddpm-unet\n    metrics: [{name: samples, columns: 1000000000}]",
    ],
)  # fmt: skip
def test_a_number_whose_cost_grows_with_it_has_a_range(numbers: str) -> None:
    load_builtins()

    with pytest.raises(SuiteError, match="must be between"):
        expand(parse_suite(text(f"  - {numbers}\n"), "s.yaml"))


def test_no_built_in_factory_takes_a_number_without_a_range() -> None:
    from typing import get_args

    load_builtins()
    unbounded = [
        f"{entry.name}.{name}"
        for registry in (MODELS, DATASETS, SAMPLERS, METRICS)
        for entry in registry
        if entry.origin.startswith(("models.", "bench."))
        for name, parameter in entry.parameters().items()
        if {int, float} & {parameter.annotation, *get_args(parameter.annotation)}
        and not hasattr(parameter.annotation, "__metadata__")
    ]

    assert unbounded == []


@pytest.mark.parametrize("skip_exponent", [0.0, 1.0, 2.0, 3.0, 5.0, 64.0, 1000.0, 0.5, 2.5])
def test_the_boundaries_of_k_are_those_of_its_values(skip_exponent: float) -> None:
    table = [num_skipped_levels(t, num_levels=4, skip_exponent=skip_exponent) for t in range(1000)]

    assert table == sorted(table)
    assert skip_boundaries(4, skip_exponent) == tuple(
        next((t for t, k in enumerate(table) if k >= depth), 1000) for depth in (1, 2, 3)
    )


# Suites of strangers

PIECES = [
    "~", "true", "1e3", "1e999", ".nan", "0x1F", "9" * 30, "''", "[]", "{each: []}", "{each: [1, 1]}", "&a x", "*a",
    "!!set {}", "<<", "|", "'", '"', "{", "]", "#", "\t", "\n---\n", "\u2028", "\x00", "😀", "\u202e", "/dev/zero",
    "-1", "0", "1000000000000", "1e300", "x" * 300, "cuda:99", "{a: {b: 1}}", "sampler.eta?", "../../etc/passwd",
]  # fmt: skip


def mutated(suite: str, draw: random.Random) -> str:
    """A suite with a few of its pieces replaced, doubled, dropped or exchanged."""
    for _ in range(draw.randint(1, 6)):
        low = draw.randrange(len(suite) + 1)
        high = min(len(suite), low + draw.choice((0, 1, 2, 8, 40)))
        other = draw.randrange(len(suite) + 1)
        piece = draw.choice(
            ("", suite[low:high] * 2, suite[other : other + 30], draw.choice(PIECES), draw.choice(PIECES))
        )
        suite = (suite[:low] + piece + suite[high:]) or "a"
    return suite


def survive(count: int, seed: int) -> None:
    """Plan mutated suites: each ends in cells or in sentences with places, soon."""
    load_builtins()
    draw = random.Random(seed)
    corpus = [builtin_text(name) for name in builtin_suites()]
    for _ in range(count):
        source = mutated(draw.choice(corpus), draw)
        begin = time.process_time()
        try:
            suite = parse_suite(source, "s.yaml")
            expansion = survey(suite)
            problems = [*expansion.problems, *report_problems(suite)]
            fit_problems(suite, expansion, expansion.cells)
            assert all(problem.sentence for problem in problems)
        except SuiteError as error:
            assert all(line.startswith("s.yaml:") for line in error.problems), source
            assert not any(ord(c) < 32 or ord(c) == 0x202E for line in error.problems for c in line), source
        assert time.process_time() - begin < 2, source


def test_mutated_suites_are_planned_or_refused_with_places() -> None:
    survive(150, seed=int(np.random.default_rng(11).integers(2**31)))


@pytest.mark.slow
def test_many_mutated_suites_are_planned_or_refused_with_places() -> None:
    survive(6000, seed=20261128)


def test_a_device_that_is_not_here_is_missing_and_no_mistake(
    plan: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bench.cli.planning.DRIVER_PLACES", (str(tmp_path / "none"),))
    cells = expand(parse_suite(text(conditions="{device: cuda}"), "s.yaml"))

    lacks = outlook(cells, tmp_path).missing

    assert plan(text(conditions="{device: cuda}")) == (ExitCode.OK, "")
    assert ["no NVIDIA driver is loaded" in lack.sentence for lack in lacks] == [True]


@pytest.mark.parametrize(("entries", "links", "count"), [(3, False, 3), (12, False, None), (3, True, None)])
def test_a_folder_is_counted_only_where_that_is_quick_and_sure(
    entries: int, links: bool, count: int | None, tmp_path: Path
) -> None:
    (tmp_path / "f" / "deep").mkdir(parents=True)
    for index in range(entries):
        (tmp_path / "f" / "deep" / f"{index}.png").write_bytes(b"")
    (tmp_path / "f" / "notes.txt").write_text("no image")
    if links:
        (tmp_path / "f" / "link").symlink_to(tmp_path)

    assert count_images(tmp_path / "f", most=10) == count


def test_a_suite_may_name_the_whole_disk(plan: Callable[..., tuple[int, str]]) -> None:
    data = "{name: folder, path: /, image_size: 16, channels: 1}"
    begin = time.process_time()

    code, _ = plan(text(DIGITS.replace("digits", data), "[{name: denoising, images: 50}]"))

    assert code == ExitCode.OK
    assert time.process_time() - begin < 5
