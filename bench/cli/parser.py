"""Every verb and option of `bench`, in one place, so that `--help` tells the whole story."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from bench.cli.streams import answers
from bench.terminal import Unbreakable, visible
from bench.version import __version__

EPILOG = """exit codes:
  0    everything asked for was measured
  1    a regression was found, or a claim failed
  2    bad input: nothing was run
  3    some cells failed or were skipped, or a comparison is left open; the others are saved
  4    results cannot be saved, or the answer cannot be written
  70   an error that nobody foresaw; --traceback shows where
  130  interrupted; the same command continues where it stopped
"""


class Parser(argparse.ArgumentParser):
    """A parser that quotes a wrong word without obeying the control characters in it."""

    def _print_message(self, message: str, file: Any = None) -> None:
        stream = answers() if file is sys.stdout else Unbreakable(sys.stderr)
        stream.write("\n".join(map(visible, message.split("\n"))))
        stream.flush()


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = Parser(
        prog="bench",
        description="Measure how fast and how good diffusion denoisers are, and say how sure that is.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"bench {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _plan(verbs)
    _run(verbs)
    _report(verbs)
    _compare(verbs)
    _check(verbs)
    _gate(verbs)
    _diff(verbs)
    _why(verbs)
    _list(verbs)
    _inspect(verbs)
    _train(verbs)
    _fid(verbs)
    _fetch(verbs)
    _schema(verbs)
    return parser


Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"


def _plan(verbs: Verbs) -> None:
    verb = _verb(verbs, "plan", "show what a suite would measure, what is missing, and how long it may take")
    _suite_arguments(verb)
    verb.add_argument(
        "--results", type=_path, default=Path("results"), metavar="DIR",
        help="where step times of earlier runs are looked for (default: results)",
    )  # fmt: skip
    _json(verb)


def _run(verbs: Verbs) -> None:
    verb = _verb(verbs, "run", "measure a suite and write its report; run again to continue")
    _suite_arguments(verb)
    verb.add_argument(
        "--results", type=_path, default=Path("results"), metavar="DIR", help="where raw results go (default: results)"
    )
    verb.add_argument("--new", action="store_true", help="start a new run even when an earlier one could be continued")
    verb.add_argument("--no-report", action="store_true", help="measure only")
    verb.add_argument("--quiet", action="store_true", help="print the outcome only")
    verb.add_argument(
        "--cell-timeout", type=_positive, metavar="SECONDS",
        help="stop a cell that takes longer in one visit (default: by kind of metric)",
    )  # fmt: skip
    _json(verb)


def _report(verbs: Verbs) -> None:
    verb = _verb(verbs, "report", "turn results into Markdown and one self-contained HTML page")
    verb.add_argument(
        "results", type=_path, nargs="*", default=[Path("results")], metavar="PATH",
        help="runs' folders, suites' for their newest runs, or a results folder for the newest run of every suite; "
        "several make one report (default: results)",
    )  # fmt: skip
    verb.add_argument("--all", action="store_true", help="every run of a suite, not only the newest")
    verb.add_argument(
        "--out", type=_path, metavar="DIR", help="where to write (default: the run's folder; of several runs, reports)"
    )
    verb.add_argument(
        "--format", default="md,html", metavar="LIST", help="any of md, html, csv, tex (default: md,html)"
    )
    verb.add_argument("--title", metavar="TEXT", help="heading of the report (default: the suite's title)")
    _json(verb)


SIDE = "a run's, a suite's or the results folder, a file of records, or pytest-benchmark's JSON"


def _compare(verbs: Verbs) -> None:
    verb = _verb(verbs, "compare", "say what changed between two sets of results; exit 1 when something got worse")
    verb.add_argument("base", type=_path, metavar="BASE", help=SIDE)
    verb.add_argument("new", type=_path, metavar="NEW", help="the same, of the results to judge")
    _verdict_arguments(verb)


def _check(verbs: Verbs) -> None:
    verb = _verb(verbs, "check", "hold a run against a baseline and against the claims of its suite")
    verb.add_argument("run", type=_path, metavar="RUN", help="a run's, a suite's or the results folder")
    verb.add_argument("--baseline", type=_path, metavar="FILE", help=f"{SIDE} (default: claims only)")
    verb.add_argument(
        "--save-baseline", type=_path, metavar="FILE",
        help="write the counts and scores of RUN as a baseline that holds on every machine",
    )  # fmt: skip
    _verdict_arguments(verb)


def _gate(verbs: Verbs) -> None:
    verb = _verb(verbs, "gate", "measure a base and the current folder in turns; exit 1 when the latter is slower")
    _suite_arguments(verb)
    verb.add_argument(
        "--base", required=True, metavar="REV_OR_PATH", help="a git revision such as main or HEAD~1, or a folder"
    )
    verb.add_argument(
        "--tolerance", type=_share, default=0.05, metavar="PERCENT",
        help="the slowdown that must be found (default: 5%%)",
    )  # fmt: skip
    verb.add_argument(
        "--pixels", type=_not_negative, default=0.0, metavar="X",
        help="largest difference of a pixel in [-1, 1] between images that count as the same (default: 0)",
    )  # fmt: skip
    verb.add_argument("--exact-only", action="store_true", help="compare counts and images, and time nothing")
    verb.add_argument(
        "--time-limit", type=_positive, metavar="MINUTES", help="leave undecided what is not decided by then"
    )
    verb.add_argument(
        "--base-python", type=_path, metavar="PYTHON",
        help="an interpreter of its own for the base (default: one that sees what is installed here)",
    )  # fmt: skip
    verb.add_argument(
        "--results", type=_path, default=Path("results"), metavar="DIR",
        help="raw times go to DIR/gates (default: results)",
    )  # fmt: skip
    verb.add_argument("--quiet", action="store_true", help="print the verdicts only")
    verb.add_argument("--all", action="store_true", help="name what is unchanged, too")
    verb.add_argument("--junit", type=_path, metavar="FILE", help="write JUnit XML")
    _json(verb)


def _diff(verbs: Verbs) -> None:
    verb = _verb(verbs, "diff", "say why two numbers differ: every condition that differs, the likeliest cause first")
    for name in ("a", "b"):
        verb.add_argument(name, metavar=name.upper(), help="PATH, PATH#CELL, or a part of a cell's id in the results")
    verb.add_argument("--cell", metavar="TEXT", help="only cells whose id holds this")
    verb.add_argument("--metric", metavar="NAME", help="only this metric")
    verb.add_argument(
        "-k", dest="select", action="append", default=[], metavar="FACTOR=VALUE", help="only cells with this factor"
    )
    _results(verb, "where cells are looked for")
    _plugins(verb)
    _json(verb)


def _why(verbs: Verbs) -> None:
    verb = _verb(verbs, "why", "say what a cell's numbers depend on, and what of it changed since they were measured")
    verb.add_argument("cell", metavar="CELL", help="an id such as speedup/skip=zero-04159c42, or a part of one")
    verb.add_argument("--suite", metavar="SUITE", help="the suite as it is now (default: the run's own)")
    _results(verb, "where the cell is looked for")
    _plugins(verb)
    _data(verb)
    _json(verb)


def _results(verb: argparse.ArgumentParser, what: str) -> None:
    verb.add_argument(
        "--results", type=_path, default=Path("results"), metavar="DIR", help=f"{what} (default: results)"
    )


def _verdict_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--tolerance", action="append", default=[], metavar="NAME=VALUE",
        help="the smallest change that matters of a kind or a metric: timing=5%%, latency=3%%, kid=0.001",
    )  # fmt: skip
    verb.add_argument(
        "--across", action="append", default=[], metavar="FIELD",
        help="compare although this differs, such as packages.torch or machine.*; may be given several times",
    )  # fmt: skip
    verb.add_argument("--all", action="store_true", help="name what is unchanged, too")
    verb.add_argument("--junit", type=_path, metavar="FILE", help="write JUnit XML")
    verb.add_argument(
        "--export", nargs=2, action="append", default=[], metavar=("FORMAT", "FILE"),
        help="write the new numbers for another service; FORMAT is bencher or github-action-benchmark",
    )  # fmt: skip
    _plugins(verb)
    _json(verb)


def _list(verbs: Verbs) -> None:
    verb = _verb(verbs, "list", "list the models, data sets, samplers, metrics and suites by name")
    verb.add_argument(
        "kind", nargs="?", choices=("models", "data", "samplers", "metrics", "suites"), help="one kind only"
    )
    _plugins(verb)
    _json(verb)


def _inspect(verbs: Verbs) -> None:
    verb = _verb(verbs, "inspect", "build one model and count its parameters, bytes and multiply-accumulates")
    verb.add_argument("model", metavar="MODEL", help="a registered name; see `bench list models`")
    verb.add_argument("params", nargs="*", metavar="KEY=VALUE", help="the model's arguments, as in a suite")
    verb.add_argument("--shape", metavar="CxHxW", help="image shape, such as 3x64x64 (default: the model's own)")
    _plugins(verb)
    _json(verb)


def _train(verbs: Verbs) -> None:
    verb = _verb(verbs, "train", "train a denoiser from a recipe; run again to continue")
    verb.add_argument("recipe", type=_path, metavar="RECIPE", help="a YAML file such as models/recipes/NAME.yaml")
    verb.add_argument(
        "--out", type=_path, metavar="DIR", help="where the weights go (default: the shipped weights' folder)"
    )
    verb.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    verb.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads (default: 1)")
    verb.add_argument("--no-samples", action="store_true", help="do not draw the picture of samples")
    _plugins(verb)
    _data(verb)
    _json(verb)


def _fid(verbs: Verbs) -> None:
    verb = _verb(verbs, "fid", "print the Fréchet distance between two sets of images")
    sides = "a folder, zip or tar of images, a sample file, or statistics"
    verb.add_argument("images", type=_path, metavar="A", help=sides)
    verb.add_argument("reference", type=_path, metavar="B", help="the same, of the images to compare with")
    verb.add_argument(
        "--recipe", default="tf", metavar="NAME", help="tf (pytorch-fid's), tf1, clean, paper-a, paper-b, ..."
    )
    verb.add_argument(
        "--features", choices=("inception", "digits-cnn"), default="inception", help="only inception gives an FID"
    )
    _data(verb)
    _json(verb)


def _fetch(verbs: Verbs) -> None:
    verb = _verb(verbs, "fetch", "download public weights or data, checked and resumable; without a name, list them")
    verb.add_argument("name", nargs="?", metavar="NAME", help="such as inception, ddpm-cifar10, lpips-alex, mnist")
    verb.add_argument("--mirror", metavar="URL", help="an address to take the files from instead, by their names")
    _data(verb)
    _json(verb)


def _schema(verbs: Verbs) -> None:
    verb = _verb(verbs, "schema", "print the JSON Schema of suite files, for editors")
    verb.add_argument("--markdown", action="store_true", help="print the reference for people instead")


def _verb(verbs: Verbs, name: str, summary: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    verb.add_argument("--traceback", action="store_true", help="show where an error arose (also: BENCH_TRACEBACK=1)")
    return verb


def _suite_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("suite", metavar="SUITE", help="a YAML file, or the name of a built-in suite")
    verb.add_argument(
        "-k", dest="select", action="append", default=[], metavar="FACTOR=VALUE",
        help="only cells with this factor, such as skip=zero, or cell=HASH for one cell; may be given several times",
    )  # fmt: skip
    _plugins(verb)
    _data(verb)


def _plugins(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--plugin", action="append", default=[], metavar="FILE", help="a .py file or module that registers your models"
    )


def _data(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--data", type=_path, metavar="DIR", help="where data sets lie (default: $BENCH_DATA)")


def _json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON for programs")


def _path(text: str) -> Path:
    """A path; the empty one is a variable of a script that nobody set, and would mean the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; is a variable unset?")
    return Path(text)


def _share(text: str) -> float:
    value = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    if not 0.001 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be between 0.1% and 100%, got {text}")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return value


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line; argparse itself prints and exits with 2 on a wrong one."""
    return build_parser().parse_args(arguments)
