from __future__ import annotations

import pytest

from bench.contracts import Scalar
from bench.suite.grammar import plain
from bench.suite.source import Position
from bench.suite.yaml12 import MAX_DEPTH, MAX_NODES, compose, scalar, walk


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-2.", -2.0),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-11-20", "2026-11-20"),
        ("0b11", "0b11"),
        ("1e", "1e"),
        ("tRUE", "tRUE"),
        ("=", "="),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text: str, value: Scalar) -> None:
    found = scalar(text)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".inf", "-.INF", "1e400", "9" * 400, "0." + "1" * 400, str(2**63)])
def test_numbers_that_are_not_finite_or_too_large_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="numbers"):
        scalar(text)


def test_quoted_words_are_text() -> None:
    tree, problems = compose("a: '1'\nb: \"true\"\nc: |\n  12\n")

    assert not problems
    assert tree is not None
    assert plain(tree) == {"a": "1", "b": "true", "c": "12\n"}


def test_every_value_and_key_knows_its_line_and_column() -> None:
    tree, _ = compose("a:\n  - b: 1\n    'c d': [x, yz]\n")

    assert tree is not None
    spots = dict(walk(tree))
    assert spots["a", 0, "b"] == (Position(2, 8), Position(2, 5))
    assert spots["a", 0, "c d"] == (Position(3, 12), Position(3, 5))
    assert spots["a", 0, "c d", 1] == (Position(3, 16), None)


def test_keys_are_words_whatever_they_look_like() -> None:
    tree, problems = compose("1: a\ntrue: b\n~: c\n")

    assert not problems
    assert tree is not None
    assert plain(tree) == {"1": "a", "true": "b", "~": "c"}


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("a: &x 1\n", 1, "the anchor '&x' is not allowed"),
        ("a: {b: 1}\nc: *x\n", 2, "the alias '*x' is not allowed"),
        ("a: 1\n<<: {b: 2}\n", 2, "merge keys are not allowed"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("a: !!str 1\n", 1, "the tag 'tag:yaml.org,2002:str' is not allowed"),
        ("a: ! 1\n", 1, "the tag '!' is not allowed"),
        ("a: 1\nb: 2\na: 3\n", 3, "the key stands twice, first in line 1"),
        ("a: {b: 1,\n 'b': 2}\n", 2, "the key stands twice, first in line 1"),
        ("a: 1\n---\nb: 2\n", 2, "a second document begins here"),
        ("? [a]\n: 1\n", 1, "a key must be a word"),
        ("{{a: 1}: 2}\n", 1, "a key must be a word"),
        ("a: 'x\n", 2, "not valid YAML: found unexpected end of stream"),
        ("a:\n\t- b\n", 2, "indent with spaces, not tabs"),
        ("a: b: c\n", 1, "not valid YAML: mapping values are not allowed here"),
        ("a: 1\nb: \x00\n", 2, "the character U+0000 is not allowed"),
        ('a: "\\0"\n', 1, "the character U+0000 is not allowed"),
        ('a: "\\ud800"\n', 1, "the character U+D800 is not allowed"),
        ('a: "\\e[2J"\n', 1, "the character U+001B is not allowed"),
        ("a: .nan\n", 1, "numbers must be finite, got .nan"),
        ("[" * 500, 1, f"nested more than {MAX_DEPTH} deep"),
        ("a: " + "{a: " * 40, 1, f"nested more than {MAX_DEPTH} deep"),
        ("a: [" + "1," * MAX_NODES + "]", 1, f"more than {MAX_NODES:,} keys and values"),
        ("k" * 300 + ": 1\n", 1, "a key has 300 characters; 200 are allowed"),
        ("a: " + "v" * 20_000 + "\n", 1, "a value has 20,000 characters; 10,000 are allowed"),
    ],
)
def test_what_is_more_than_data_is_refused_at_its_line(text: str, line: int, sentence: str) -> None:
    _, problems = compose(text)

    assert [problem.position.line for problem in problems if sentence in problem.sentence] == [line], problems


def test_a_chain_of_merge_keys_costs_no_more_than_its_text() -> None:
    levels = "".join(f"l{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 60))

    _, problems = compose("l0: &a0 {x: 1}\n" + levels)

    assert len(problems) == 60 + 3 * 59  # anchors; merge keys with two aliases each, none of which is followed


def test_depth_up_to_the_limit_is_read() -> None:
    tree, problems = compose("[" * MAX_DEPTH + "]" * MAX_DEPTH)

    assert tree is not None
    assert not problems
