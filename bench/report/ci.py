"""A comparison for CI systems: JUnit XML, annotations and the job summary of GitHub, and plain JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bench.errors import SaveError
from bench.report.plain import clean
from bench.report.verdicts import claim_text, findings
from bench.verdict.claims import ClaimResult, Evidence, Held
from bench.verdict.outcome import FAILING, OPEN, Comparison, Outcome, Verdict

MOST_ANNOTATIONS = 10
"""GitHub shows no more of each level in one step."""


def junit(comparison: Comparison, name: str = "bench") -> str:
    """JUnit XML: one test for each number and each claim. What fails is a failure, what is left open is skipped.

    A comparison that compared nothing is an error of its own: no test of it says anything.
    """
    tests = [
        *((each.cell, each.name, str(each.outcome), each.sentence, _level(each)) for each in comparison.verdicts),
        *(("claims", each.spec.id, str(each.held), claim_text(each), _claim_level(each)) for each in comparison.claims),
        *(("comparison", "left open", "left open", each, "warning") for each in comparison.left_open),
    ]
    nothing = comparison.compared_nothing
    suite = ElementTree.Element(
        "testsuite",
        name=clean(name, 300),
        tests=str(len(tests) + (nothing is not None)),
        failures=str(sum(level == "error" for *_, level in tests)),
        skipped=str(sum(level == "warning" for *_, level in tests)),
        errors=str(int(nothing is not None)),
        time="0",
    )
    if nothing is not None:
        case = ElementTree.SubElement(suite, "testcase", classname="comparison", name="something to compare", time="0")
        ElementTree.SubElement(case, "error", type="nothing compared", message=clean(nothing)).text = clean(nothing)
    for group, test, outcome, sentence, level in tests:
        case = ElementTree.SubElement(suite, "testcase", classname=clean(group, 300), name=clean(test, 300), time="0")
        if level == "error":
            ElementTree.SubElement(case, "failure", type=outcome, message=clean(sentence)).text = clean(sentence)
        elif level == "warning":
            ElementTree.SubElement(case, "skipped", message=clean(f"{outcome}: {sentence}"))
        else:
            ElementTree.SubElement(case, "system-out").text = clean(f"{outcome}: {sentence}")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _level(verdict: Verdict) -> str:
    if verdict.outcome in FAILING:
        return "error"
    return "warning" if verdict.outcome in OPEN else ""


def _claim_level(claim: ClaimResult) -> str:
    return {Held.FAILS: "error", Held.HOLDS: ""}.get(claim.held, "warning")


def workflow_commands(comparison: Comparison) -> Iterator[str]:
    """Workflow commands of GitHub Actions: errors for what fails, warnings for what is left open, one notice."""
    found = [(_outcome_level(each.outcome), f"{each.outcome}: {each.number}", f"{each.about}: {each.sentence}")
             for each in findings(comparison)]  # fmt: skip
    found += [(_claim_level(each), f"claim {each.held}", claim_text(each)) for each in comparison.claims]
    found += [("warning", "left open", each) for each in comparison.left_open]
    if comparison.compared_nothing is not None:
        found.insert(0, ("error", "nothing compared", comparison.compared_nothing))
    for level in ("error", "warning"):
        for _, title, message in [each for each in found if each[0] == level][:MOST_ANNOTATIONS]:
            yield f"::{level} title={_property(title)}::{_data(message)}"
    yield f"::notice title=bench::{_data(comparison.summary)}"


def _outcome_level(outcome: Outcome) -> str:
    return "error" if outcome in FAILING else "warning" if outcome in OPEN else ""


def _data(text: str) -> str:
    """A text that cannot end a workflow command or begin another."""
    return clean(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def add_to_summary(markdown: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Append to the summary of a GitHub job, where there is one. Raises SaveError.

    The environment names the file, not a folder that a stranger filled: it may be a link or a device.
    """
    target = environment.get("GITHUB_STEP_SUMMARY")
    if not target:
        return None
    try:
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(markdown + "\n")
    except OSError as error:
        raise SaveError(f"{target}: the job summary cannot be written: {error.strerror}") from error
    return Path(target)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything a program could want to know."""
    return {
        "base": comparison.base,
        "new": comparison.new,
        "exit_code": int(comparison.exit_code),
        "summary": comparison.summary,
        "compared_nothing": comparison.compared_nothing,
        "counts": {str(outcome): count for outcome, count in comparison.counts.items()},
        "notes": list(comparison.notes),
        "left_open": list(comparison.left_open),
        "verdicts": [{**asdict(each), "outcome": str(each.outcome), "name": each.name} for each in comparison.verdicts],
        "claims": claims_json(comparison.claims),
    }


def claims_json(claims: Iterable[ClaimResult]) -> list[dict[str, Any]]:
    """Claims with every number behind them."""
    return [
        {
            "id": each.spec.id,
            "sentence": each.spec.sentence,
            "held": str(each.held),
            "finding": each.sentence,
            "evidence": [_evidence(line) for line in each.evidence],
        }
        for each in claims
    ]


def _evidence(line: Evidence) -> dict[str, Any]:
    numbers = {
        name: None
        if found is None
        else {"value": found.value, "low": found.low, "high": found.high, "unit": found.unit}
        for name, found in (("value", line.value), ("other", line.other), ("difference", line.difference))
    }
    return {
        "about": dict(line.about),
        "cells": list(line.cells),
        "held": str(line.held),
        "sentence": line.sentence,
        **numbers,
    }
