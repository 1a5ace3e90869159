"""What a shell, a CI job or a stranger's text must never make of the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.cli import main
from bench.cli.verbs import VERBS
from bench.errors import ExitCode, SaveError, UserError

SUITE = """\
schema: 1
suite: tiny
title: "Grüße - 測試"
effort: {warmup: 0, repeats: 1, rounds: 1, processes: 1}
grid:
  - model: {name: skip-unet, weights: random, skip_exponent: {each: [0, 2]}}
    sampler: {name: ddim, timesteps: 2}
metrics: [parameters, nfe]
"""
HOSTILE = "a\x1b[31mb\u202ec\x9bd\re\x07"
CONTROLS = frozenset("\x1b\u202e\x9b\r\x07\x7f\u2066\u2028")
LOUD = """\
import atexit, ctypes, os
from bench import Denoiser, Prediction, ScheduleSpec, Weights, register_model

def shout(where):
    print(f"word in {where}")
    os.write(1, b"word through the descriptor\\n")
    ctypes.CDLL(None).puts(b"word from C")

shout("import")
atexit.register(shout, "exit")

@register_model("loud")
def loud() -> Denoiser:
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x_t, t):
            shout("forward")
            return self.layer(x_t)

    shout("factory")
    return Denoiser(Net().eval(), (1, 16, 16), Prediction.EPSILON, ScheduleSpec(), Weights("random"))
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE, encoding="utf-8")
    return path


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """`bench list` ends in the given way."""

    def patch(error: BaseException) -> None:
        def verb(options: object) -> int:
            raise error

        monkeypatch.setitem(VERBS, "list", verb)  # type: ignore[arg-type]

    return patch


def bench(*words: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`bench` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, words)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        env={**os.environ, **(env or {})},
    )


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `bench` is the program."""
    function = f'bench() {{ "{sys.executable}" -m bench "$@"; }}; set -o pipefail; '
    return subprocess.run(
        ["bash", "-c", function + line], capture_output=True, text=True, errors="replace", check=False, cwd=cwd
    )


def times(path: Path, seconds: float) -> Path:
    """pytest-benchmark's JSON of one benchmark with 60 rounds."""
    data = [seconds * (1 + 0.001 * (index % 7)) for index in range(60)]
    benchmarks = [{"fullname": "t.py::b", "stats": {"data": data, "median": seconds}}]
    path.write_text(json.dumps({"machine_info": {}, "datetime": "2026-11-20", "benchmarks": benchmarks}))
    return path


# Exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyError("x"), ExitCode.INTERNAL),
        (SystemExit(1), ExitCode.INTERNAL),
        (RecursionError("deep"), ExitCode.INTERNAL),
        (MemoryError(), ExitCode.INTERNAL),
        (AssertionError(), ExitCode.INTERNAL),
        (BrokenPipeError(32, "Broken pipe"), ExitCode.INTERNAL),
        (OSError(24, "Too many open files", "/x"), ExitCode.INTERNAL),
        (OSError("without a number"), ExitCode.INTERNAL),
        (GeneratorExit(), ExitCode.INTERNAL),
        (PermissionError(13, "Permission denied", "/x"), ExitCode.BAD_INPUT),
        (FileNotFoundError(2, "No such file or directory", "/x"), ExitCode.BAD_INPUT),
        (OSError(28, "No space left on device", "/x"), ExitCode.CANNOT_SAVE),
        (OSError(30, "Read-only file system"), ExitCode.CANNOT_SAVE),
        (SaveError("full"), ExitCode.CANNOT_SAVE),
        (UserError("wrong"), ExitCode.BAD_INPUT),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
    ids=repr,
)
def test_every_way_to_fail_has_an_exit_code_that_is_no_verdict_and_one_line(
    error: BaseException, code: ExitCode, raising: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    raising(error)

    found = main(["list"])
    err = capsys.readouterr().err

    assert found == code
    assert len(err.splitlines()) == 1 and err.startswith("bench: ")


def test_an_error_whose_own_text_fails_still_ends_in_one_line(
    raising: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    class Wordless(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    raising(Wordless())

    assert main(["list"]) == ExitCode.INTERNAL
    assert "Wordless" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["option", "environment"])
def test_the_traceback_is_shown_when_it_is_asked_for(
    how: str,
    raising: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raising(KeyError(HOSTILE))
    if how == "environment":
        monkeypatch.setenv("BENCH_TRACEBACK", "1")

    main(["list", *(["--traceback"] if how == "option" else [])])
    err = capsys.readouterr().err

    assert "Traceback (most recent call last)" in err and "test_command_line.py" in err
    assert not CONTROLS & set(err)


def test_an_error_while_the_program_is_imported_is_no_regression(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise RuntimeError('a broken package')")

    found = bench("plan", "speedup", env={"PYTHONPATH": str(tmp_path)})

    assert found.returncode == ExitCode.INTERNAL
    assert "a broken package" in found.stderr and "Traceback" not in found.stderr


# Streams


@pytest.mark.parametrize("reader", ["true", "head -c 1", "grep -q regressed"])
def test_a_verdict_keeps_its_exit_code_when_the_reader_goes(reader: str, tmp_path: Path) -> None:
    times(tmp_path / "base.json", 0.01)
    times(tmp_path / "slow.json", 0.013)

    found = shell(f"bench compare base.json slow.json | {reader} > /dev/null; echo ${{PIPESTATUS[0]}}", tmp_path)

    assert found.stdout.strip() == str(int(ExitCode.REGRESSION))
    assert found.stderr == ""


def test_a_listing_whose_reader_goes_is_no_error(tmp_path: Path) -> None:
    found = shell("bench schema | head -c 1 > /dev/null; echo ${PIPESTATUS[0]}", tmp_path)

    assert (found.stdout.strip(), found.stderr) == ("0", "")


@pytest.mark.parametrize(
    ("encoding", "verb"), [("ascii", "plan"), ("cp1252", "plan"), ("latin-1", "list"), ("ascii", "schema")]
)
def test_a_terminal_that_lacks_characters_gets_escapes(encoding: str, verb: str, suite: Path) -> None:
    words = {"plan": ["plan", suite], "list": ["list"], "schema": ["schema", "--markdown"]}[verb]

    found = bench(*words, env={"PYTHONIOENCODING": encoding})

    assert (found.returncode, found.stderr) == (0, "")
    assert verb != "plan" or "\\u6e2c" in found.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_json_is_the_same_document_in_every_encoding(encoding: str, suite: Path) -> None:
    found = bench("plan", suite, "--json", env={"PYTHONIOENCODING": encoding})

    assert json.loads(found.stdout)["title"] == "Grüße - 測試"


@pytest.mark.parametrize(
    ("words", "where"),
    [("plan tiny.yaml", ">&-"), ("schema", "> /dev/full"), ("plan tiny.yaml --json", "> /dev/full"), ("--help", ">&-")],
)
def test_an_answer_that_cannot_be_written_is_exit_code_4(words: str, where: str, suite: Path) -> None:
    found = shell(f"bench {words} {where}", suite.parent)

    assert found.returncode == ExitCode.CANNOT_SAVE
    assert found.stderr.startswith("bench: the answer cannot be written") and len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize("where", ["2>&-", "2> /dev/full", "<&- 2>&-"])
def test_the_answer_comes_without_a_standard_error(where: str, suite: Path) -> None:
    good = shell(f"bench plan tiny.yaml {where}", suite.parent)
    bad = shell(f"bench plan nonsense {where}", suite.parent)

    assert (good.returncode, bad.returncode) == (ExitCode.OK, ExitCode.BAD_INPUT)
    assert "tiny" in good.stdout and bad.stdout == ""


def test_a_closed_standard_output_never_becomes_a_file_of_the_run(suite: Path, tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(LOUD)

    found = shell("bench run tiny.yaml --plugin loud.py --results r --json >&-", tmp_path)

    assert found.returncode == ExitCode.CANNOT_SAVE
    assert not [path for path in (tmp_path / "r").rglob("*.json*") if "word " in path.read_text()]


@pytest.mark.parametrize("verb", ["plan", "list", "inspect", "run", "report", "compare"])
def test_json_stays_json_whatever_a_plug_in_prints(verb: str, tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(LOUD)
    (tmp_path / "s.yaml").write_text(
        SUITE.replace("{name: skip-unet, weights: random, skip_exponent: {each: [0, 2]}}", "loud"), encoding="utf-8"
    )
    plugin = ["--plugin", tmp_path / "loud.py", "--json"]
    run = ["run", tmp_path / "s.yaml", *plugin, "--results", tmp_path / "r"]
    if verb in ("report", "compare"):
        bench(*run)
    words: Sequence[str | Path] = {
        "plan": ["plan", tmp_path / "s.yaml", *plugin],
        "list": ["list", *plugin],
        "inspect": ["inspect", "loud", *plugin],
        "run": run,
        "report": ["report", tmp_path / "r", "--json"],
        "compare": ["compare", tmp_path / "r", tmp_path / "r", *plugin],
    }[verb]

    found = bench(*words)

    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)
    assert verb == "report" or "word in import" in found.stderr


# Texts of strangers


@pytest.mark.parametrize(
    "words",
    [
        ["plan", HOSTILE],
        ["run", HOSTILE],
        ["gate", HOSTILE, "--base", HOSTILE],
        ["report", HOSTILE],
        ["compare", HOSTILE, HOSTILE],
        ["check", HOSTILE],
        ["diff", HOSTILE, HOSTILE],
        ["why", HOSTILE],
        ["list", HOSTILE],
        ["list", "--plugin", HOSTILE],
        ["list", "--plugin", f"{HOSTILE}.py"],
        ["inspect", HOSTILE],
        ["inspect", "skip-unet", HOSTILE],
        ["inspect", "skip-unet", f"skip={HOSTILE}"],
        ["inspect", "skip-unet", f"weights={HOSTILE}"],
        ["train", HOSTILE],
        ["fid", HOSTILE, HOSTILE, "--features", "digits-cnn"],
        ["fetch", HOSTILE],
        ["schema", HOSTILE],
        ["plan", "speedup", "-k", f"{HOSTILE}=1"],
        ["report", "--format", HOSTILE],
        [HOSTILE],
        ["plan", "a\udcffb"],
    ],
    ids=lambda words: " ".join(words).replace(HOSTILE, "HOSTILE"),
)
def test_no_control_character_of_a_word_reaches_the_terminal(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    try:
        code: object = main(words)
    except SystemExit as error:
        code = error.code
    printed = capsys.readouterr()

    assert code == ExitCode.BAD_INPUT
    assert not CONTROLS & set(printed.out + printed.err)


def test_no_control_character_of_a_file_reaches_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    (folder / "s.yaml").write_text(SUITE.replace("Grüße", "Gr\\e[31m\\u202e\\x9b"), encoding="utf-8")
    (folder / "good.yaml").write_text(SUITE.replace("Grüße", "\\u202e\\u2066"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    codes = [main(["plan", str(folder / name), *more]) for name in ("s.yaml", "good.yaml") for more in ([], ["--json"])]
    printed = capsys.readouterr()

    assert codes == [2, 2, 0, 0]
    assert not CONTROLS & set(printed.out + printed.err)


@pytest.mark.parametrize(
    "words",
    [
        ["report", ""],
        ["run", "speedup", "--results", ""],
        ["plan", "speedup", "--data", ""],
        ["compare", "", "x"],
        ["check", "x", "--baseline", ""],
    ],
)
def test_an_empty_path_is_a_variable_nobody_set_and_not_the_current_folder(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)

    assert stopped.value.code == ExitCode.BAD_INPUT
    assert "is empty; is a variable unset?" in capsys.readouterr().err


# Inspecting

RECURRENT = """\
from torch import nn
from bench import Denoiser, Prediction, ScheduleSpec, Weights, register_model

class Net(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.layer = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](16, 16, batch_first=True)

    def forward(self, x_t, t):
        return self.layer(self.conv(x_t)[:, 0])[0][:, None]

@register_model("recurrent")
def recurrent(kind: str = "lstm") -> Denoiser:
    return Denoiser(Net(kind).eval(), (1, 16, 16), Prediction.EPSILON, ScheduleSpec(), Weights("random"))

@register_model("wrong")
def wrong() -> Denoiser:
    return Net("gru")
"""


@pytest.fixture
def recurrent(tmp_path: Path) -> Path:
    """A plug-in with recurrent layers, for one test."""
    path = tmp_path / "recurrent.py"
    path.write_text(RECURRENT)
    return path


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_inspect_prints_what_can_be_counted_and_why_the_rest_cannot(
    kind: str, recurrent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["inspect", "recurrent", f"kind={kind}", "--plugin", str(recurrent)]

    codes = main(words), main([*words, "--json"])
    lines, _, document = capsys.readouterr().out.partition("{\n")
    facts = json.loads("{" + document)

    assert codes == (ExitCode.OK, ExitCode.OK)
    assert facts["parameters"]["total"] == {"lstm": 2186, "gru": 1642}[kind]
    assert facts["walk_macs"]["thop-like"] is None and kind.upper() in facts["stages"][0]["reasons"]["thop-like"]
    assert "MACs thop-like" in lines and "not counted: " in lines
    assert facts["walk_macs"]["fvcore"] is None and facts["walk_macs"]["dispatch"] > 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["skip-unet", "skip_exponent=.nan"], "skip_exponent: numbers must be finite, got .nan"),
        (["skip-unet", f"skip_exponent={'1' * 26}"], "skip_exponent: whole numbers must be smaller than 2**63"),
        (["skip-unet", f"skip_exponent={'1' * 5000}"], "skip_exponent: numbers may have 64 characters"),
        (["ddpm-unet", "--shape", "1x²x16"], "expected CxHxW"),
        (["ddpm-unet", "--shape", "3x99999x99999"], "at most 64x4096x4096"),
        (["ddpm-unet", "--shape", "1x0x16"], "expected CxHxW"),
    ],
)
def test_inspect_refuses_a_number_it_cannot_use(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = main(["inspect", *words]), capsys.readouterr().err

    assert code == ExitCode.BAD_INPUT
    assert sentence in err and len(err.splitlines()) == 1


def test_inspect_says_what_a_factory_should_have_given(recurrent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = main(["inspect", "wrong", "--plugin", str(recurrent)]), capsys.readouterr().err

    assert code == ExitCode.BAD_INPUT
    assert "its factory gave a Net, expected a Denoiser or a Restorer" in err
