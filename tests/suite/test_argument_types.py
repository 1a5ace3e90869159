"""What a factory's signature lets a suite write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Optional

import pytest

from bench.contracts import Value
from bench.errors import UserError
from bench.registry import METRICS, SAMPLERS, fit, register_metric, register_sampler

if TYPE_CHECKING:
    from somewhere.else_entirely import Missing  # type: ignore[import-not-found]


@pytest.mark.parametrize(
    ("value", "annotation", "fitted"),
    [
        (0, float, 0.0),
        (0.5, float, 0.5),
        (3, int, 3),
        ("a", str, "a"),
        (True, bool, True),
        (None, str | None, None),
        (2, float | None, 2.0),
        (2, Optional[int], 2),  # noqa: UP045 - the older spelling is what a plug-in may use
        ((1, 2), tuple[float, ...], (1.0, 2.0)),
        ("x", Literal["x", "y"], "x"),
        ("anything", Any, "anything"),
    ],
)
def test_a_value_of_the_declared_type_fits(value: Value, annotation: Any, fitted: Value) -> None:
    found, problem = fit(value, annotation)

    assert (found, problem) == (fitted, "")
    assert type(found) is type(fitted)


@pytest.mark.parametrize(
    ("value", "annotation", "sentence"),
    [
        ("low", float, "expected a number, got 'low'"),
        (True, float, "expected a number, got True"),
        (1.0, int, "expected a whole number, got 1.0"),
        (True, int, "expected a whole number, got True"),
        (1, str, "expected text, got 1"),
        (1, bool, "expected true or false, got 1"),
        (None, int, "expected a whole number, got None"),
        ("a", int | None, "expected a whole number, got 'a' or expected nothing, got 'a'"),
        (1, tuple[int, ...], "expected a list, got 1"),
        ((1, "a"), tuple[int, ...], "expected a whole number, got 'a'"),
        (True, Literal[1, 2], "expected one of 1, 2, got True"),
        ("cpy", Literal["zero", "copy"], "expected one of 'zero', 'copy', got 'cpy'; did you mean 'copy'?"),
    ],
)
def test_a_value_of_another_type_is_refused_with_both(value: Value, annotation: Any, sentence: str) -> None:
    assert fit(value, annotation)[1] == sentence


def test_types_of_what_the_harness_gives_need_not_exist() -> None:
    @register_metric("sharp", unit="1", better=None, kind="quality")
    def sharp(subject: Missing, effort: Missing, images: int = 3) -> Missing: ...

    (parameter,) = METRICS.get("sharp").parameters().values()
    assert (parameter.name, parameter.annotation, parameter.default) == ("images", int, 3)


class Sampler:
    """A class can be a factory; its own arguments are those a suite may write."""

    def __init__(self, schedule: Missing, timesteps: int = 10) -> None: ...


def test_a_class_may_be_a_factory() -> None:
    register_sampler("class")(Sampler)

    (parameter,) = SAMPLERS.get("class").parameters().values()
    assert (parameter.name, parameter.annotation) == ("timesteps", int)


def test_a_type_that_does_not_exist_is_named_with_its_plug_in() -> None:
    @register_metric("dull", unit="1", better=None, kind="quality")
    def dull(subject: Any, effort: Any, images: Missing = 3) -> Any: ...

    with pytest.raises(UserError, match=r"'dull' \(.*dull\): a type cannot be resolved: name 'M"):
        METRICS.get("dull").parameters()
