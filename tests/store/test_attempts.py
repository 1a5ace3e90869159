"""Which records belong together, and which of them count."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from bench.store.attempts import Key, attempts, current, cut, key_of, params_text
from bench.store.record import Record, Status

MakeRecord = Callable[..., Record]


def test_last_attempt_at_a_key_counts(record: MakeRecord) -> None:
    failed = record(status=Status.FAILED, started="a")
    worked = record(started="b")

    (attempt,) = current([failed, worked]).values()

    assert attempt.records == (worked,)


def test_a_later_failure_replaces_an_earlier_number(record: MakeRecord) -> None:
    (attempt,) = current([record(started="a"), record(status=Status.FAILED, started="b")]).values()

    assert (attempt.status, attempt.reason) == (Status.FAILED, "because")


def test_attempt_of_several_records_counts_only_when_all_are_there(record: MakeRecord) -> None:
    stages = [record(at={"stage": stage}, siblings=3) for stage in range(3)]

    for kept in itertools.chain.from_iterable(itertools.combinations(stages, n) for n in range(1, 3)):
        assert current(kept) == {}
    (attempt,) = current(stages).values()
    assert attempt.records == tuple(stages)


def test_cut_attempt_leaves_the_whole_one_before_it(record: MakeRecord) -> None:
    first = [record(at={"stage": stage}, siblings=2, started="a") for stage in range(2)]
    cut = record(at={"stage": 0}, siblings=2, started="b", values=(9.0,))

    (attempt,) = current([*first, cut]).values()

    assert attempt.records == tuple(first)


def test_cut_attempt_is_not_completed_by_a_later_one(record: MakeRecord) -> None:
    cut = record(at={"stage": 0}, siblings=2, started="a", values=(9.0,))
    again = [record(at={"stage": stage}, siblings=2, started="b") for stage in range(2)]

    (attempt,) = current([cut, *again]).values()

    assert attempt.records == tuple(again)


def test_halves_of_two_damaged_attempts_do_not_make_a_whole(record: MakeRecord) -> None:
    first, second = (record(at={"stage": n}, siblings=2, started=started) for n, started in ((0, "a"), (1, "b")))

    assert current([first, second]) == {}


def test_attempts_are_told_apart_even_when_the_clock_stands_still(record: MakeRecord) -> None:
    cut = record(at={"stage": 0}, siblings=2, values=(9.0,))
    again = [record(at={"stage": stage}, siblings=2) for stage in range(2)]

    (attempt,) = current([cut, *again]).values()

    assert attempt.records == tuple(again)


def test_interleaved_records_of_two_cells_are_kept_apart(record: MakeRecord) -> None:
    a = [record(cell="a", at={"stage": stage}, siblings=2) for stage in range(2)]
    b = [record(cell="b", at={"stage": stage}, siblings=2) for stage in range(2)]

    found = attempts([a[0], b[0], a[1], b[1]])

    assert [attempt.records for attempt in found] == [tuple(a), tuple(b)]


def test_parts_and_metric_arguments_are_different_keys(record: MakeRecord) -> None:
    records = [record(part="p0r0"), record(part="p0r1"), record(metric_params={"images": 8}), record(metric="macs")]

    assert len(current(records)) == 4


def test_key_does_not_depend_on_the_order_of_arguments(record: MakeRecord) -> None:
    one, other = record(metric_params={"a": 1, "b": (1, 2)}), record(metric_params={"b": (1, 2), "a": 1})

    assert key_of(one) == key_of(other) == Key(one.cell, "latency", '{"a":1,"b":[1,2]}', "")
    assert params_text({}) == "{}"


def test_what_no_whole_attempt_is_there_of_is_cut(record: MakeRecord) -> None:
    whole = [record(at={"stage": stage}, siblings=2, started="a") for stage in range(2)]
    half = record(at={"stage": 0}, siblings=2, started="b")
    other = record(part="p9r9", at={"stage": 0}, siblings=2)

    assert cut([*whole, half]) == cut([half, *whole]) == ()
    assert [attempt.records for attempt in cut([*whole, half, other])] == [(other,)]
