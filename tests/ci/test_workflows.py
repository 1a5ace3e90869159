"""The workflows: what a stranger's pull request may do, that their commands exist, and what each exit code leads to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cli.parser import build_parser

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NAMES = [path.name for path in WORKFLOWS]


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


def triggers(workflow: dict[str, Any]) -> set[str]:
    """YAML 1.1 reads the key `on` as true."""
    return set(workflow[True])  # type: ignore[index]


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def scripts(workflow: dict[str, Any]) -> list[str]:
    return [step["run"] for step in steps(workflow) if "run" in step]


def test_the_workflows_are_there() -> None:
    assert NAMES == ["gate-comment.yml", "gate.yml", "tests.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=NAMES)
def test_the_code_of_a_pull_request_runs_without_secrets_and_without_rights(path: Path) -> None:
    workflow, text = read(path), path.read_text("utf-8")
    assert "pull_request_target" not in triggers(workflow)
    assert "secrets." not in text
    if "pull_request" in triggers(workflow):
        assert workflow["permissions"] == {"contents": "read"}
        assert not any("permissions" in job for job in workflow["jobs"].values())
        checkouts = [step for step in steps(workflow) if step.get("uses", "").startswith("actions/checkout")]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_the_job_that_may_write_runs_nothing_of_the_pull_request() -> None:
    workflow = read(ROOT / ".github" / "workflows" / "gate-comment.yml")

    assert triggers(workflow) == {"workflow_run"}
    assert workflow["permissions"] == {"actions": "read", "pull-requests": "write"}
    assert scripts(workflow) == []
    assert [step["uses"].partition("@")[0] for step in steps(workflow)] == [
        "actions/download-artifact",
        "actions/github-script",
    ]


@pytest.mark.parametrize("path", WORKFLOWS, ids=NAMES)
def test_no_text_of_an_event_is_pasted_into_a_script(path: Path) -> None:
    """A branch called `$(x)` must stay a name; values come through `env`."""
    for script in [
        *scripts(read(path)),
        *(step["with"]["script"] for step in steps(read(path)) if "script" in step.get("with", {})),
    ]:
        assert "${{" not in script


@pytest.mark.parametrize("path", WORKFLOWS, ids=NAMES)
def test_every_command_of_bench_is_one(path: Path) -> None:
    for script in scripts(read(path)):
        for line in script.splitlines():
            match = re.search(r"\bbench (run|check|gate|compare) (.*?)( > \S+)?( \|\| .*)?$", line.strip())
            if match:
                words = [word.strip('"') for word in [match[1], *match[2].split()]]
                build_parser().parse_args(words)


@pytest.mark.parametrize("path", WORKFLOWS, ids=NAMES)
def test_scripts_are_bash(path: Path) -> None:
    for script in scripts(read(path)):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("path", WORKFLOWS, ids=NAMES)
def test_files_that_are_named_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    for name in re.findall(r"\b(?:suites|results/baselines)/[\w.-]+\.(?:yaml|jsonl)", text):
        assert (ROOT / name).is_file()


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (2, 2), (3, 0), (4, 4)])
@pytest.mark.parametrize("name", ["gate.yml", "tests.yml"])
def test_only_what_is_left_open_does_not_fail_the_job(name: str, code: int, expected: int, tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "bench"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\nexit {code}\n")
    fake.chmod(0o755)
    script = next(s for s in scripts(read(ROOT / ".github" / "workflows" / name)) if "code=0" in s)

    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}", "BASE": "x"},
        check=False,
    )

    assert done.returncode == expected


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_comment_shows_hostile_texts_as_code(tmp_path: Path) -> None:
    """Run the script with a stand-in for GitHub and a verdict full of markup."""
    workflow = read(ROOT / ".github" / "workflows" / "gate-comment.yml")
    script = next(step["with"]["script"] for step in steps(workflow) if "script" in step.get("with", {}))
    hostile = "`|@everyone [x](http://evil.example) <img src=x>\\n\\u202e"
    harness = f"""
const fs = require('fs');
fs.mkdirSync('gate/verdict', {{ recursive: true }});
const v = (outcome) => ({{ outcome, kind: 'timing', cell: "{hostile}", name: "{hostile}", sentence: "{hostile}" }});
fs.writeFileSync('gate/verdict/gate.json', JSON.stringify({{ verdicts: [v('regressed'), v('<b>owned</b>')] }}));
let made = null;
const github = {{
  paginate: async (f) => f === 'pulls' ? [{{ number: 7, head: {{ sha: 'abc' }} }}] : [],
  rest: {{
    pulls: {{ list: 'pulls' }},
    issues: {{ listComments: 'comments', createComment: async (c) => {{ made = c; }} }},
  }},
}};
const core = {{ info: (text) => console.error(text) }};
const context = {{ repo: {{ owner: 'o', repo: 'r' }}, payload: {{ workflow_run: {{
  head_repository: {{ owner: {{ login: 'u' }} }}, head_branch: 'b', head_sha: 'abc',
  html_url: 'https://example.org' }} }} }};
(async () => {{ {script} }})().then(() => console.log(JSON.stringify(made)));
"""
    done = subprocess.run(["node", "-e", harness], cwd=tmp_path, capture_output=True, text=True, check=True)
    body = yaml.safe_load(done.stdout)["body"]

    assert "1 regressed" in body and "owned" not in body
    outside = re.sub(r"`[^`]*`", "", body)
    assert "evil" not in outside and "@everyone" not in outside and "<img" not in outside
    assert [line.count("|") for line in body.splitlines() if line.startswith("| regressed")] == [5]
