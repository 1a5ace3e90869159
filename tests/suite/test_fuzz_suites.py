"""Broken suites, thousands of them: each is read, or refused with file and line, and nothing else ever happens."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from bench.errors import SuiteError
from bench.suite.expand import expand
from bench.suite.read import parse_suite, read_suite

SUITE = (Path(__file__).parent / "toy.yaml").read_text("utf-8")

PLACE = re.compile(r"^broken\.yaml:[1-9]\d*:[1-9]\d*: \S")
WORDS = [
    *(
        "~",
        "null",
        "true",
        "no",
        "1e3",
        "1e999",
        ".nan",
        "0x",
        "-0.0",
        "012",
        "9" * 30,
        "''",
        '"\\ud800"',
        "2001-01-01",
    ),
    *("[]", "{}", "[[]]", "{each: []}", "{each: [1, 1]}", "{each: {each: [1]}}", "[1, a, ~]", "{name: net}", "&a x"),
    *(
        "*a",
        "!!set {}",
        "<<",
        "? x",
        "- -",
        "|",
        ">",
        "'",
        '"',
        "{",
        "]",
        "#",
        "%",
        "@",
        "`",
        "\t",
        "\n---\n",
        "\n...\n",
    ),
    *(
        "\ufeff",
        "\u2028",
        "\x85",
        "\x00",
        "\ud7ff",
        "é",
        "😀",
        "model.skip",
        "each",
        "name",
        "params",
        "grid",
        "a/../b",
    ),
]
TRAPS = [
    *("", "\n", " ", "\ufeff", "---", "...", "--- |", "?", ":", "-", "- : -", "? ? ?", "!", "!!", "&", "*", "{}: {}"),
    *("[]: []", "<<: *x", "%YAML 9.9\n---\n", "%TAG ! !\n--- !a", "a: |+9\n x", "a: >-\n\n", "'" * 99, '"' * 99),
    *(
        "[" * 99,
        "{" * 99,
        "- " * 999,
        "? " * 999,
        "a: " * 99,
        "!!python/name:os.system",
        "schema: 1\nsuite: " + "x" * 99,
    ),
    *("a: 1\r\nb: 2\rc: 3", "key: [a\n, b]\n c", "{a: 1, a: 2, a: 3}", "\t\t", "a:\tb", "{? a, ? b}", "1: 2", "~: ~"),
]


def check(text: str) -> bool:
    """Whether the text is a suite; fails when it is neither that nor refused at its line."""
    try:
        expand(parse_suite(text, "broken.yaml"))
    except SuiteError as error:
        assert error.problems, text
        for problem in error.problems:
            assert "cannot be read" not in problem, (problem, text)  # the last resort, for what nobody foresaw
            assert PLACE.match(problem), (problem, text)
            assert "\n" not in problem, (problem, text)
            assert len(problem) < 2000, (problem, text)
        return False
    return True


def with_noise(text: str, chance: random.Random) -> str:
    """Up to five characters or pieces changed, removed, doubled or moved."""
    for _ in range(chance.randint(1, 5)):
        low = chance.randrange(len(text) + 1)
        high = min(len(text), low + chance.choice((0, 1, 1, 2, 8, 30)))
        other = chance.randrange(len(text) + 1)
        piece = chance.choice(
            ("", text[low:high] * 2, chr(chance.choice((9, 10, 32, 0x1F600, chance.randrange(33, 127)))))
        )
        text = text[:low] + (piece or text[other : other + 20]) + text[high:] if chance.random() < 0.8 else text[:low]
        text = text or "a"
    return text


def with_other_values(text: str, chance: random.Random) -> str:
    """Up to four words of the suite replaced by other words of it, or by words that mean trouble."""
    words = list(re.finditer(r"[\w.-]+|\{[^{}]*\}|\[[^\[\]]*\]", text))
    for _ in range(chance.randint(1, 4)):
        word = chance.choice(words)
        new = chance.choice(WORDS) if chance.random() < 0.6 else chance.choice(words)[0]
        text = text[: word.start()] + new + text[word.end() :]
        words = list(re.finditer(r"[\w.-]+|\{[^{}]*\}|\[[^\[\]]*\]", text))
    return text


def with_other_lines(text: str, chance: random.Random) -> str:
    """Lines removed, doubled, swapped and indented otherwise."""
    lines = text.splitlines()
    for _ in range(chance.randint(1, 3)):
        one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
        match chance.randrange(4):
            case 0 if len(lines) > 1:
                del lines[one]
            case 1:
                lines.insert(two % len(lines), lines[one % len(lines)])
            case 2:
                lines[one], lines[two] = lines[two], lines[one]
            case _:
                lines[one] = " " * chance.randrange(6) + lines[one].strip()
    return "\n".join(lines) + "\n"


MUTATIONS = [with_noise, with_other_values, with_other_lines]


def accepted(mutation_index: int, count: int, seed: int) -> int:
    chance = random.Random(seed)
    return sum(check(MUTATIONS[mutation_index](SUITE, chance)) for _ in range(count))


@pytest.mark.parametrize("mutation_index", range(len(MUTATIONS)))
def test_a_mutated_suite_is_read_or_refused_at_its_line(mutation_index: int) -> None:
    found = accepted(mutation_index, 200, seed=mutation_index)

    assert 0 < found < 200, "the mutations should leave some suites valid and break others"


@pytest.mark.slow
@pytest.mark.parametrize("mutation_index", range(len(MUTATIONS)))
def test_thousands_of_mutated_suites_are_read_or_refused_at_their_line(mutation_index: int) -> None:
    assert 0 < accepted(mutation_index, 3000, seed=100 + mutation_index) < 3000


@pytest.mark.parametrize("trap", [*TRAPS, *WORDS])
def test_a_text_that_traps_yaml_readers_is_refused_at_its_line(trap: str) -> None:
    assert not check(trap)
    for place in ("title: A toy", "{name: walk, timesteps: 5}", "model.skip\n"):
        check(SUITE.replace(place, f"{place.partition(':')[0]}: {trap}", 1))
        check(SUITE.replace(place, trap, 1))


def test_random_bytes_are_refused_at_their_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(0)
    for _ in range(100):
        base = bytearray(SUITE.encode())
        for _ in range(chance.randint(1, 8)):
            base[chance.randrange(len(base))] = chance.randrange(256)
        Path("broken.yaml").write_bytes(base if chance.random() < 0.7 else chance.randbytes(200))
        try:
            read_suite("broken.yaml")
        except SuiteError as error:
            assert all(PLACE.match(problem) for problem in error.problems), error


def test_random_unicode_is_refused_at_its_line() -> None:
    chance = random.Random(0)
    for _ in range(100):
        points = [chance.choice((chance.randrange(0x200), chance.randrange(0x10FFFF))) for _ in range(40)]
        text = "".join(map(chr, points))
        check(SUITE.replace("A toy", text, 1))
        assert not check(text)
