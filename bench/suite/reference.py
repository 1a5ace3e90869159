"""The suite format for editors (JSON Schema) and for people (Markdown), both made from the types that read it.

`python -m bench.suite.reference` writes suites/suite.schema.json and the reference in suites/README.md again.
"""

from __future__ import annotations

import ast
import inspect
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bench.contracts import Scalar, Value
from bench.files import write_whole
from bench.suite.schema import Block, BlockRef, Conditions, Each, Ref, Suite

Node = dict[str, Any]
"""A JSON Schema, or a part of one."""

BEGIN = "<!-- made by `python -m bench.suite.reference` from here -->"
END = "<!-- to here -->"

_PLAIN: Mapping[Any, Node] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}
_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "nothing",
}
_BOUNDS = {"ge": "minimum", "le": "maximum", "lt": "exclusiveMaximum", "gt": "exclusiveMinimum"}
_SCALAR: Node = {"type": ["string", "number", "boolean", "null"]}
_VALUE: Node = {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}
_SUMMARIES = {
    "Ref": "A registered name and its arguments side by side, `{name: peak_memory, calls_per_stage: 2}`; a name that "
    "needs no arguments may stand alone. `bench list` shows the names and what each takes.",
    "BlockRef": "A reference in a block of the grid: any argument may be an axis, "
    "`{name: skip-unet, skip: {each: [zero, duplicate]}}`.",
}
_TYPE_NAMES = {"Ref": "reference", "BlockRef": "reference with axes", "TableSpec": "table", "FigureSpec": "figure"}
_TYPE_NAMES |= {"ClaimSpec": "claim", "PublishedRef": "published table"}


def editor_schema() -> Node:
    """A JSON Schema of a suite file, with `each:` and flat references; `yaml-language-server` and editors use it.

    Which names are registered is not in it, so that plug-ins are welcome; `bench plan` checks those.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A suite of benchmarks",
        **_model_node(Suite),
        "$defs": {model.__name__: _definition(model) for model in _models() if model is not Suite},
    }


def markdown_reference() -> str:
    """Every key of a suite file: its type, its default and its meaning, as Markdown tables."""
    return "\n".join(_section(model) for model in _models()).strip() + "\n"


def refreshed(readme: str) -> str:
    """The text of suites/README.md with the reference between its two marks made new."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{markdown_reference()}\n{END}{after}"


def schema_text() -> str:
    """The content of suites/suite.schema.json."""
    return json.dumps(editor_schema(), indent=2, ensure_ascii=False) + "\n"


def field_docs(model: type[BaseModel]) -> Mapping[str, str]:
    """The string under each field of a model, which Python itself does not keep."""
    body = ast.parse(inspect.getsource(model)).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if is_text and isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            docs[field.target.id] = " ".join(str(below.value.value).split())  # type: ignore[attr-defined]
    return docs


def _models() -> tuple[type[BaseModel], ...]:
    """`Suite` and every type inside it, in the order a reader meets them."""
    found: dict[str, type[BaseModel]] = {"Suite": Suite}

    def visit(annotation: Any) -> None:
        for each in _inside(annotation):
            if each.__name__ not in found and not issubclass(each, Each):
                found[each.__name__] = each
                for field in each.model_fields.values():
                    visit(field.annotation)

    for field in Suite.model_fields.values():
        visit(field.annotation)
    return tuple(found.values())


def _inside(annotation: Any) -> typing.Iterator[type[BaseModel]]:
    """The models an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, Each):
        yield from _inside(annotation.model_fields["each"].annotation)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _inside(argument)


def _definition(model: type[BaseModel]) -> Node:
    if model in (Ref, BlockRef):
        argument = _VALUE if model is Ref else _or_axis(_VALUE)
        flat = {
            "type": "object",
            "properties": {"name": {"type": "string", "description": "A registered name; `bench list` shows them."}},
            "required": ["name"],
            "additionalProperties": argument,
        }
        return {"description": _SUMMARIES[model.__name__], "anyOf": [{"type": "string"}, flat]}
    node = _model_node(model)
    if model is Block:
        node["properties"]["conditions"] |= {
            "properties": {name: _or_axis(each) for name, each in _model_node(Conditions)["properties"].items()},
            "additionalProperties": False,
        }
    return node


def _model_node(model: type[BaseModel]) -> Node:
    """A closed mapping with the fields of a model."""
    docs = field_docs(model)
    properties: Node = {}
    for name, field in model.model_fields.items():
        default = {} if field.is_required() else {"default": _default(field)}
        description = {"description": docs[name]} if name in docs else {}
        properties[field.alias or name] = {**_field_node(field), **description, **default}
    required = [field.alias or name for name, field in model.model_fields.items() if field.is_required()]
    return {
        "description": _summary(model),
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _field_node(field: FieldInfo) -> Node:
    """The type of a field and its bounds."""
    node = _node(field.annotation)
    for mark in field.metadata:
        node |= {key: getattr(mark, name) for name, key in _BOUNDS.items() if hasattr(mark, name)}
        if getattr(mark, "pattern", None):
            node["pattern"] = mark.pattern
    return node


def _node(annotation: Any) -> Node:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _PLAIN:
        return dict(_PLAIN[annotation])
    if annotation in (Value, Scalar):
        return dict(_VALUE if annotation == Value else _SCALAR)
    if origin is typing.Annotated:
        return _node(arguments[0])
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        given = [each for each in arguments if each is not type(None)]
        return _node(given[0]) if len(given) == 1 else {"anyOf": [_node(each) for each in given]}
    if origin is tuple:
        return {"type": "array", "items": _node(arguments[0])}
    if isinstance(annotation, type) and issubclass(annotation, Each):
        return _axis(_node(typing.get_args(annotation.model_fields["each"].annotation)[0]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {"$ref": f"#/$defs/{annotation.__name__}"}
    return {"type": "object", "additionalProperties": _node(arguments[1])}  # Mapping[str, ...]; there is no other


def _axis(item: Node) -> Node:
    return {
        "type": "object",
        "properties": {"each": {"type": "array", "items": item, "minItems": 1}},
        "required": ["each"],
        "additionalProperties": False,
    }


def _or_axis(item: Node) -> Node:
    """A value or an axis of values; what describes the value describes both."""
    outside: Node = {key: value for key, value in item.items() if key in ("description", "default")}
    inside: Node = {key: value for key, value in item.items() if key not in outside}
    return {"anyOf": [inside, _axis(inside)], **outside}


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True)
    return value.model_dump() if isinstance(value, BaseModel) else list(value) if isinstance(value, tuple) else value


def _summary(model: type[BaseModel]) -> str:
    if model.__name__ in _SUMMARIES:
        return _SUMMARIES[model.__name__]
    text = model.__dict__.get("__doc__") or ""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")).strip()


def _section(model: type[BaseModel]) -> str:
    """A heading, what the type is, and a table of its keys."""
    title = "The file" if model is Suite else _type_name(model.__name__).capitalize()
    lines = [f"### {title}", "", _summary(model), ""]
    if model in (Ref, BlockRef):
        return "\n".join(lines)
    node = _definition(model)
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, value in node["properties"].items():
        default = "required" if key in node["required"] else _written(value.get("default"))
        lines.append(f"| `{key}` | {_type_text(value)} | {default} | {_cell(value.get('description', ''))} |")
    return "\n".join([*lines, ""])


def _type_text(node: Node) -> str:
    """A JSON Schema in words."""
    if "enum" in node:
        return " ".join(f"`{each}`" for each in node["enum"])
    if "$ref" in node:
        name = _type_name(node["$ref"].rpartition("/")[2])
        return f"[{name}](#{name.replace(' ', '-')})"
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_type_text(each) for each in node["anyOf"]))
    if node == _SCALAR:
        return "value"
    if node["type"] == "array":
        return f"list of {_type_text(node['items'])}"
    if node["type"] == "object" and "each" in node.get("properties", {}):
        return f"axis of {_type_text(node['properties']['each']['items'])}"
    if node["type"] == "object":
        return "mapping"
    return _WORDS[node["type"]] + _bounds_text(node)


def _bounds_text(node: Node) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    below = node.get("exclusiveMaximum")
    text = f", at least {low:,}" if low is not None else ""
    if below is not None:
        text += f", less than {'2^63' if below == 2**63 else format(below, ',')}"
    return text + (f", like `{_cell(node['pattern'])}`" if "pattern" in node else "")


def _type_name(name: str) -> str:
    return _TYPE_NAMES.get(name, name.lower())


def _written(default: Any) -> str:
    if default is None or default == [] or default == {}:
        return "none"
    return "see below" if isinstance(default, dict) else f"`{json.dumps(default)}`".replace('"', "")


def _cell(text: str) -> str:
    """Text for one cell of a Markdown table."""
    return text.replace("|", "\\|")


def main(folder: Path) -> None:
    """Write both files of the suites folder again."""
    readme = folder / "README.md"
    write_whole(readme, refreshed(readme.read_text("utf-8")))
    write_whole(folder / "suite.schema.json", schema_text())


if __name__ == "__main__":
    main(Path(__file__).parents[2] / "suites")
