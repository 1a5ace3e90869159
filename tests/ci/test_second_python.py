"""The gate's second Python: what it runs there, and when it goes on without one. The interpreters are stand-ins."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "second-python"
COMMANDS = "bash sh git mktemp rm df awk timeout grep tail mkdir cp ls sort sleep touch"
STAND_IN = """#!/bin/sh
# Python {version}, as far as the gate asks: it says its version, makes environments, installs, and runs tests.
case "$*" in
    *ensurepip*) echo {minor} ;;
    *python_version*) echo {version} ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *pip*) echo "$PWD: $*" >>"$CALLS"; {pip} ;;
    *pytest*) echo "$PWD: $*" >>"$CALLS"; {tests} ;;
esac
"""


class Machine:
    """A repository, an empty home, and a path with git and the Pythons that were put there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.calls.touch()
        self.bin = folder / "bin"
        self.bin.mkdir()
        for command in COMMANDS.split():
            place = shutil.which(command)
            assert place is not None
            (self.bin / command).symlink_to(place)
        self.repository = folder / "repository"
        git = ["git", "-C", str(self.repository)]
        subprocess.run(["git", "init", "-q", str(self.repository)], check=True)
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run([*git, *who, "commit", "-q", "--allow-empty", "-m", "m"], check=True)

    def python(self, version: str, *, pip: str = "true", tests: str = "true", place: Path | None = None) -> Path:
        minor = ".".join(version.split(".")[:2])
        path = place or self.bin / f"python{minor}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STAND_IN.format(version=version, minor=minor, pip=pip, tests=tests))
        path.chmod(0o755)
        return path

    def run(self, seconds: int = 1, first: str = "3.11", **environment: str) -> subprocess.CompletedProcess[str]:
        base = {"PATH": str(self.bin), "HOME": str(self.folder), "CALLS": str(self.calls), "SECOND_PYTHON_KIB": "1"}
        return subprocess.run(
            ["bash", str(SCRIPT), str(self.repository), str(seconds), first],
            env={**base, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_fast_tests_run_in_a_clone_and_an_environment_of_their_own(machine: Machine) -> None:
    machine.python("3.13.2")

    done = machine.run()

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "+ second Python: 3.13.2",
        "second Python: the fast tests pass on 3.13.2",
    ]
    install, tests = machine.calls.read_text().splitlines()
    assert install.endswith("-m pip install -q -e .[test]")
    assert tests.endswith("-m pytest -q --ignore=tests/report/test_in_browser.py")
    assert {line.partition(":")[0] for line in (install, tests)}.isdisjoint({str(machine.repository), str(ROOT)})


def test_the_first_version_is_not_taken_again(machine: Machine) -> None:
    machine.python("3.13.2")
    machine.python("3.12.1")

    assert "+ second Python: 3.12.1" in machine.run(first="3.13").stdout


def test_an_interpreter_in_pyenvs_folder_is_taken_where_none_is_on_the_path(machine: Machine) -> None:
    machine.python("3.12.1", place=machine.folder / ".pyenv" / "versions" / "3.12.1" / "bin" / "python")

    assert "the fast tests pass on 3.12.1" in machine.run().stdout


def test_an_interpreter_that_does_not_start_is_passed_over(machine: Machine) -> None:
    machine.python("3.13.2").write_text("#!/bin/sh\nexit 127\n")
    machine.python("3.12.1")

    assert "the fast tests pass on 3.12.1" in machine.run().stdout


def test_a_test_that_fails_fails_the_gate(machine: Machine) -> None:
    machine.python("3.13.2", tests="exit 1")

    assert machine.run().returncode == 1


@pytest.mark.parametrize(
    ("pip", "environment", "seconds", "sentence"),
    [
        ("true", {"SECOND_PYTHON": "none"}, 1, "as SECOND_PYTHON asks"),
        ("true", {}, 5000, "the first one took 5000 s, and the gate has to end"),
        ("true", {"SECOND_PYTHON_KIB": str(2**52)}, 1, "GiB of disk"),
        ("echo ERROR: no network >&2; exit 1", {}, 1, "its packages could not be installed: ERROR: no network"),
        ("exec sleep 30", {"SECOND_PYTHON_INSTALL_LIMIT": "1"}, 1, "its packages could not be installed in 1 s"),
    ],
)
def test_what_is_the_machines_business_is_said_and_fails_nothing(
    machine: Machine, pip: str, environment: dict[str, str], seconds: int, sentence: str
) -> None:
    machine.python("3.13.2", pip=pip, tests="exit 1")

    done = machine.run(seconds, **environment)

    assert done.returncode == 0
    assert sentence in done.stdout.splitlines()[-1]
    assert done.stdout.splitlines()[-1].startswith("second Python: left out, ")
    assert "pytest" not in machine.calls.read_text()


def test_no_other_python_is_said_and_fails_nothing(machine: Machine) -> None:
    done = machine.run()

    assert done.returncode == 0
    assert done.stdout.startswith(
        "second Python: left out, none is on the path, in pyenv's folder, or to be had from uv"
    )


def test_uv_is_asked_for_one(machine: Machine) -> None:
    python = machine.python("3.13.2", place=machine.folder / "uv" / "python")
    uv = machine.bin / "uv"
    uv.write_text(f'#!/bin/sh\n[ -e "{machine.folder}/has" ] || [ "$2" = install ] || exit 2\n'
                  f'[ "$2" = install ] && touch "{machine.folder}/has" || echo "{python}"\n')  # fmt: skip
    uv.chmod(0o755)

    assert "the fast tests pass on 3.13.2" in machine.run().stdout


def test_the_gate_runs_it_and_both_are_bash() -> None:
    gate = (ROOT / ".ci" / "run").read_text("utf-8")

    assert '.ci/second-python "$root" "$took" "$first"' in gate
    for script in (SCRIPT, ROOT / ".ci" / "run"):
        subprocess.run(["bash", "-n", str(script)], check=True)
