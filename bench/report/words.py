"""What the numbers of a report mean, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bench.analysis.samples import DEFAULT_AT, Asked
from bench.contracts import Value
from bench.errors import BenchError
from bench.registry import METRICS, load_builtins, metric_spec
from bench.report.document import Fact
from bench.report.plain import clean, factor_text, label, listing, short
from bench.suite.schema import Quantity
from bench.units import TIMES

REDUCED: Mapping[str, str] = {
    "median": "the median over visits of the visit's median of {what}",
    "mean": "the mean over visits of the visit's mean of {what}",
    "min": "the smallest {what}",
    "max": "the largest {what}",
    "value": "{what}, an exact number",
    "total": f"calls {TIMES} {{what}}, summed over stages",
    "composed": f"calls {TIMES} the median {{what}}, summed over stages",
}
REDUCED_ONCE: Mapping[str, str] = {
    **REDUCED,
    "median": "{what} (the median where it has several values)",
    "mean": "the mean over images of {what}",
}
"""The same for what is not timed: it is measured in one visit."""
AGAINST: Mapping[str, str] = {
    "time_saved": "1 - x / x({to})",
    "speedup": "x({to}) / x",
    "ratio": "x / x({to})",
    "difference": "x - x({to})",
}
KIND: Mapping[str, str] = {
    "exact": "the same on every machine",
    "timing": "timed in fresh processes, cells in alternating rounds",
    "memory": "measured in a process of its own",
    "quality": "of pictures, not of the machine",
}


def name_of(quantity: Quantity) -> str:
    """What a line or a column is called when the suite does not say."""
    if quantity.label is not None:
        return clean(quantity.label, 200)
    chosen = {**DEFAULT_AT.get(quantity.metric, {}), **quantity.at}
    at = f" ({listing(str(value) for value in chosen.values())})" if chosen else ""
    reduced = f", {quantity.reduce}" if quantity.reduce in ("min", "max", "mean", "composed") else ""
    relative = f", {quantity.relative.replace('_', ' ')}" if quantity.relative else ""
    return clean(f"{quantity.metric}{at}{reduced}{relative}", 200)


def meaning(quantity: Quantity) -> str:
    """How a quantity is made of raw values: `1 - x / x(skip_exponent = 0), where x is ...`."""
    return clean("".join((_meaning(quantity), _multiplied(quantity), _rule(quantity))))


def _multiplied(quantity: Quantity) -> str:
    if quantity.times is None:
        return ""
    return f"; x is multiplied by {_reduced(quantity.times, _what(quantity.times))} of the same cell"


def _rule(quantity: Quantity) -> str:
    """Which cell is meant, where a place has several."""
    chosen = quantity.chosen
    if chosen is None:
        return ""
    what = _what(chosen.by)
    which = f"where {what} is {'lowest' if chosen.prefer == 'lower' else 'highest'}"
    if chosen.prefer is None:
        which = f"with the largest {what} of at most {chosen.at_most:g}"
    return f"; of the {short(chosen.over)} {which} (the interval does not hold the chance in this choice)"


def _what(asked: Asked) -> str:
    """A metric with what it is of."""
    chosen = {**DEFAULT_AT.get(asked.metric, {}), **asked.at}
    return f"{asked.metric} ({_factors(chosen)})" if chosen else asked.metric


def _meaning(quantity: Quantity) -> str:
    what = _what(quantity)
    if quantity.where:
        what += f" of {_factors(quantity.where)}"
    if quantity.relative is None:
        return clean(_reduced(quantity, what))
    against = AGAINST[quantity.relative].format(to=_factors(quantity.to or {}))
    if quantity.reduce == "median" and _kind(quantity) == "timing":
        return clean(
            f"{against} of the two visits of one round, then the median over rounds; x is a visit's median {what}"
        )
    return clean(f"{against}, where x is {_reduced(quantity, what)}")


def _reduced(asked: Asked, what: str) -> str:
    """How raw values become one number."""
    return (REDUCED if _kind(asked) == "timing" else REDUCED_ONCE)[asked.reduce].format(what=what)


def _kind(asked: Asked) -> str:
    """The kind of a metric; of an unknown one that of the most that can be said."""
    load_builtins_quietly()
    return metric_spec(asked.metric).kind if asked.metric in METRICS else "timing"


def definitions(quantities: Iterable[Quantity]) -> tuple[Fact, ...]:
    """How each metric was taken, from the one place that knows: the function that takes it."""
    load_builtins_quietly()
    facts = []
    for name in dict.fromkeys(quantity.metric for quantity in quantities):
        if name not in METRICS:
            facts.append(Fact(clean(name, 200), "from a plug-in that is not loaded here"))
            continue
        spec = metric_spec(name)
        unit = f", in {spec.unit}" if spec.unit not in ("", "1", "count", "calls") else ""
        summary = METRICS.get(name).summary.partition(" at: ")[0]
        facts.append(Fact(clean(name, 200), clean(f"{summary} ({KIND[spec.kind]}{unit})")))
    return tuple(facts)


def load_builtins_quietly() -> None:
    """The registry, as far as it can be had: a report needs its sentences, not its factories."""
    try:
        load_builtins()
    except (ImportError, BenchError):
        return


def _factors(factors: Mapping[str, Value]) -> str:
    """`skip = zero, skip_exponent = 1 or 2`."""
    return ", ".join(
        f"{short(name)} = {' or '.join(map(label, value))}" if isinstance(value, tuple) else factor_text(name, value)
        for name, value in factors.items()
    )
