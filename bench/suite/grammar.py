"""From the tree of a file to the plain data the suite's types are validated from.

Two things are written more shortly in a file than they are kept: a reference is flat (`{name: skip-unet, skip: zero}`,
or the name alone), and any of its arguments may be an axis. Both are unfolded here; everything else is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.contracts import Scalar
from bench.suite.source import KeyPath, Problem
from bench.suite.yaml12 import Located

PARTS = ("model", "data", "sampler")
"""The keys of a block that name something registered."""

UNREADABLE = "?"
"""The name of a reference that is wrong and already reported."""


def unfold(tree: Located) -> tuple[Any, tuple[Problem, ...]]:
    """The file's data with every reference as `{name, params}`, lists as tuples, and the mistakes in references."""
    unfolder = _Unfolder()
    return unfolder.suite(tree), tuple(unfolder.problems)


def plain(tree: Located) -> Any:
    """The tree without positions; lists become tuples."""
    if isinstance(tree.value, Mapping):
        return {key: plain(child) for key, child in tree.value.items()}
    if isinstance(tree.value, tuple):
        return tuple(plain(child) for child in tree.value)
    return tree.value


def kind(value: object) -> str:
    """What a value is, in words, for messages."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class _Unfolder:
    """Copies a tree, unfolding references and noting what is wrong in them; wrong parts become placeholders."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def suite(self, tree: Located) -> Any:
        data = plain(tree)
        if isinstance(tree.value, Mapping):
            grid = tree.value.get("grid")
            if grid is not None and isinstance(grid.value, tuple):
                data["grid"] = tuple(self._block(block, ("grid", i)) for i, block in enumerate(grid.value))
            if "metrics" in tree.value:
                data["metrics"] = self._metrics(tree.value["metrics"], ("metrics",))
        return data

    def _block(self, tree: Located, path: KeyPath) -> Any:
        if not isinstance(tree.value, Mapping):
            return plain(tree)
        block: dict[str, Any] = {}
        for key, child in tree.value.items():
            here = (*path, key)
            if key == "conditions" and isinstance(child.value, Mapping):
                block[key] = {name: self._factor(each, (*here, name)) for name, each in child.value.items()}
            elif key in PARTS and child.value is not None:
                block[key] = self._references(child, here)
            elif key == "metrics":
                block[key] = self._metrics(child, here)
            else:
                block[key] = plain(child)
        return block

    def _references(self, tree: Located, path: KeyPath) -> Any:
        if not isinstance(tree.value, Mapping) or "each" not in tree.value:
            return self._reference(tree, path)
        items = self._axis(tree.value, path)
        return {"each": tuple(self._reference(item, (*path, "each", i)) for i, item in enumerate(items))}

    def _reference(self, tree: Located, path: KeyPath) -> Any:
        """`{name, params}` of a name or of a flat mapping."""
        if isinstance(tree.value, str):
            return {"name": tree.value, "params": {}}
        if not isinstance(tree.value, Mapping):
            self._note(tree, path, f"expected a name or {{name: ..., its arguments}}, got {kind(tree.value)}")
            return {"name": UNREADABLE, "params": {}}
        params = {key: self._factor(value, (*path, key)) for key, value in tree.value.items() if key != "name"}
        return {"name": self._name(tree, tree.value.get("name"), (*path, "name")), "params": params}

    def _name(self, reference: Located, name: Located | None, path: KeyPath) -> str:
        if name is None:
            self._note(reference, path, "missing; expected a registered name")
        elif isinstance(name.value, str):
            return name.value
        elif isinstance(name.value, Mapping) and "each" in name.value:
            self._note(name, path, "expected text, got an axis; write {each: [{name: a}, {name: b}]} instead")
        else:
            self._note(name, path, f"expected text, got {kind(name.value)}")
        return UNREADABLE

    def _metrics(self, tree: Located, path: KeyPath) -> Any:
        if not isinstance(tree.value, tuple):
            return plain(tree)
        return tuple(self._metric(each, (*path, index)) for index, each in enumerate(tree.value))

    def _metric(self, tree: Located, path: KeyPath) -> Any:
        if isinstance(tree.value, Mapping):
            for name, value in tree.value.items():
                if isinstance(value.value, Mapping) and "each" in value.value:
                    self._note(value, (*path, name), "a metric has no axes; list it once for every value")
                    return {"name": UNREADABLE, "params": {}}
        return self._reference(tree, path)

    def _factor(self, tree: Located, path: KeyPath) -> Any:
        """An argument: a scalar, a flat list, or an axis of those; None where it is wrong and reported."""
        if isinstance(tree.value, Mapping) and "each" in tree.value:
            items = self._axis(tree.value, path)
            return {"each": tuple(self._value(item, (*path, "each", i)) for i, item in enumerate(items))}
        return self._value(tree, path)

    def _axis(self, value: Mapping[str, Located], path: KeyPath) -> tuple[Located, ...]:
        """The items of `{each: [...]}`."""
        for key, other in value.items():
            if key != "each":
                place = other.spot.key or other.spot.value
                self.problems.append(
                    Problem(place, (*path, key), "nothing may stand beside 'each'; remove one of them")
                )
        items = value["each"].value
        if not isinstance(items, tuple) or not items:
            found = "an empty list" if items == () else kind(items)
            self._note(value["each"], (*path, "each"), f"expected a list of at least one value, got {found}")
            return (Located(None, value["each"].spot),)
        return items

    def _value(self, tree: Located, path: KeyPath) -> Scalar | tuple[Scalar, ...]:
        if isinstance(tree.value, Mapping):
            self._note(tree, path, "expected a value, a list or an axis {each: [...]}, got a mapping")
            return None
        if not isinstance(tree.value, tuple):
            return tree.value
        for index, item in enumerate(tree.value):
            if isinstance(item.value, Mapping | tuple):
                self._note(item, (*path, index), f"lists of values are flat, got {kind(item.value)} inside")
        return tuple(item.value for item in tree.value if not isinstance(item.value, Mapping | tuple))

    def _note(self, tree: Located, path: KeyPath, sentence: str) -> None:
        self.problems.append(Problem(tree.spot.value, path, sentence))
