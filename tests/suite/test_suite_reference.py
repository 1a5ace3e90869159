from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.errors import SuiteError
from bench.registry import DATASETS, METRICS, MODELS, SAMPLERS, load_builtins
from bench.suite import reference
from bench.suite.expand import expand
from bench.suite.grammar import plain
from bench.suite.read import parse_suite
from bench.suite.reference import editor_schema, field_docs, markdown_reference, refreshed, schema_text
from bench.suite.schema import Suite
from bench.suite.yaml12 import compose

SUITE = (Path(__file__).parent / "toy.yaml").read_text("utf-8")

SUITES = Path(__file__).parents[2] / "suites"
REFRESH = "run `python -m bench.suite.reference`"


def fits(value: Any, node: Any, root: Any) -> bool:
    """Whether a value satisfies a JSON Schema, for the words of it that ours uses."""
    if node is True:
        return True
    if "$ref" in node:
        return fits(value, root["$defs"][node["$ref"].rpartition("/")[2]], root)
    if "anyOf" in node and not any(fits(value, each, root) for each in node["anyOf"]):
        return False
    if "enum" in node and not any(type(value) is type(each) and value == each for each in node["enum"]):
        return False
    kinds = node.get("type", [])
    if kinds and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if isinstance(value, int | float) and not isinstance(value, bool):
        bounds = value >= node.get("minimum", value) and value <= node.get("maximum", value)
        return bool(bounds and value < node.get("exclusiveMaximum", value + 1))
    if isinstance(value, str):
        return re.search(node.get("pattern", ""), value) is not None
    if isinstance(value, tuple):
        return len(value) >= node.get("minItems", 0) and all(
            fits(each, node.get("items", True), root) for each in value
        )
    if isinstance(value, dict):
        known, other = node.get("properties", {}), node.get("additionalProperties", True)
        return all(key in value for key in node.get("required", [])) and all(
            fits(each, known[key], root) if key in known else other is not False and fits(each, other, root)
            for key, each in value.items()
        )
    return True


def _is(value: Any, kind: str) -> bool:
    kinds: dict[str, Any] = {"string": str, "integer": int, "number": (int, float), "array": tuple, "object": dict}
    if isinstance(value, bool) or kind == "boolean":
        return isinstance(value, bool) and kind == "boolean"
    return value is None if kind == "null" else isinstance(value, kinds[kind])


def valid_for_editors(text: str) -> bool:
    tree, problems = compose(text)
    assert tree is not None
    assert not problems
    root = editor_schema()
    return fits(plain(tree), root, root)


def valid_for_bench(text: str) -> bool:
    try:
        parse_suite(text, "toy.yaml")
    except SuiteError:
        return False
    return True


@pytest.fixture
def builtins(toys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registries as they ship, in place of the toys."""
    monkeypatch.undo()
    load_builtins()


def readme_example() -> str:
    return next(re.finditer(r"```yaml\n(.*?)```", (SUITES / "README.md").read_text("utf-8"), re.DOTALL))[1]


def test_the_schema_for_editors_is_up_to_date() -> None:
    assert (SUITES / "suite.schema.json").read_text("utf-8") == schema_text(), REFRESH


def test_the_reference_in_the_readme_is_up_to_date() -> None:
    text = (SUITES / "README.md").read_text("utf-8")

    assert text == refreshed(text), REFRESH


def test_writing_again_changes_nothing_but_the_marked_part(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"before\n{reference.BEGIN}\nold\n{reference.END}\nafter\n", "utf-8")

    reference.main(tmp_path)

    text = (tmp_path / "README.md").read_text("utf-8")
    assert text == f"before\n{reference.BEGIN}\n\n{markdown_reference()}\n{reference.END}\nafter\n"
    assert json.loads((tmp_path / "suite.schema.json").read_text("utf-8")) == editor_schema()


def test_a_text_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        refreshed("no marks")


def test_every_key_of_a_suite_has_a_meaning() -> None:
    silent = [
        f"{model.__name__}.{name}"
        for model in reference._models()
        if model.__name__ not in ("Ref", "BlockRef")
        for name in model.model_fields
        if not field_docs(model).get(name)
    ]

    assert silent == []
    assert "|  |\n" not in markdown_reference()


def test_every_link_of_the_reference_leads_to_a_heading_of_it() -> None:
    text = markdown_reference()

    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^### (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


@pytest.mark.parametrize(
    "path", sorted(SUITES.glob("*.yaml")) + sorted(SUITES.glob("paper/*.yaml")), ids=lambda p: p.stem
)
def test_the_schema_for_editors_accepts_every_built_in_suite(path: Path) -> None:
    assert valid_for_editors(path.read_text("utf-8"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 7", "seed: 7"),
        ("{name: walk, timesteps: 5}", "{each: [walk, {name: jump, timesteps: {each: [1, 2]}}]}"),
        ("data: dots", "conditions: {threads: {each: [1, 2]}, dtype: bfloat16}"),
        ("schema: 1", "schema: 2"),
        ("device: cpu", "device: gpu"),
        ("threads: 1", "threads: 0"),
        ("threads: 1", "threads: {each: [1, 2]}"),
        ("seed: 7", "sed: 7"),
        ("seed: 7", "seed: 9223372036854775808.0"),
        ("suite: toy", "suite: Toy"),
        ("title: A toy\n", ""),
        ("name: net, ", ""),
        ("[zero, copy]", "[]"),
        ("[zero, copy]}", "[zero], more: 1}"),
        ("data: dots", "conditions: {threads: {each: [0]}}"),
        ("data: dots", "conditions: {treads: 1}"),
        ("kind: bars", "kind: bar"),
        ("images: 100", "images: {each: [1, 2]}"),
        ("than: 0", "than: little"),
        ("rows: [model.skip, model.exponent]", "rows: 3"),
    ],
)
def test_editors_and_bench_agree_on_what_is_valid(old: str, new: str) -> None:
    text = SUITE.replace(old, new)

    assert valid_for_editors(text) == valid_for_bench(text) == (new in (old, *ACCEPTED))


ACCEPTED = (
    "{each: [walk, {name: jump, timesteps: {each: [1, 2]}}]}",
    "conditions: {threads: {each: [1, 2]}, dtype: bfloat16}",
)


def test_the_schema_does_not_depend_on_what_is_registered(builtins: None) -> None:
    before = schema_text()
    for registry in (MODELS, DATASETS, SAMPLERS, METRICS):
        assert registry.names()

    assert "skip-unet" not in json.dumps(json.loads(before)["properties"])
    assert before == schema_text()


def test_the_example_of_the_readme_makes_the_cells_it_says(builtins: None) -> None:
    cells = expand(parse_suite(readme_example(), "my_suite.yaml"))

    assert len(cells) == 4
    assert "The block above is four cells." in (SUITES / "README.md").read_text("utf-8")


def test_the_mistakes_shown_in_the_readme_are_what_bench_says(builtins: None) -> None:
    shown = re.findall(r"^my_suite\.yaml:.*$", (SUITES / "README.md").read_text("utf-8"), re.MULTILINE)
    broken = readme_example().replace("device: cpu", "device: gpu").replace("skip: zero", "skp: zero")

    with pytest.raises(SuiteError) as caught:
        parse_suite(broken, "my_suite.yaml")

    assert list(caught.value.problems) == shown


def test_suite_is_described_as_closed() -> None:
    node = editor_schema()

    assert node["additionalProperties"] is False
    assert set(node["required"]) == {
        field.alias or name for name, field in Suite.model_fields.items() if field.is_required()
    }
