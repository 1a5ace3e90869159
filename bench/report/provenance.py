"""Where numbers come from: machine, conditions, weights, how often, how steady. Facts and footnotes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from bench import units
from bench.analysis import stats
from bench.analysis.reduce import Estimate
from bench.analysis.results import Point, Results, as_key
from bench.contracts import Scalar
from bench.report.document import Fact, Facts
from bench.report.plain import clean, label, listing, short
from bench.store.record import Record, RunInfo

TextOf = Callable[[Mapping[str, Scalar]], str]
"""Facts of a subject -> what to say about it; empty when there is nothing to say."""

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
BYTES = frozenset({"memory_bytes"})
NAMES: Mapping[str, str] = {
    "cpu": "Processor",
    "logical_cores": "Logical cores",
    "affinity": "Cores allowed",
    "memory_bytes": "Memory",
    "os": "System",
    "kernel": "Kernel",
    "gpu": "Graphics card",
}


def machine_facts(info: RunInfo) -> Facts:
    """Everything the run knows about its machine."""
    return Facts("Machine", tuple(_fact(name, value) for name, value in info.machine.items() if value is not None))


def _fact(name: str, value: Scalar) -> Fact:
    text = label(value)
    if name in BYTES and isinstance(value, int | float):
        text = units.write(value, units.choose_scale([value], "bytes", "mib"))
    return Fact(NAMES.get(name, clean(name.replace("_", " "), 200)), text)


def software_facts(info: RunInfo) -> Facts:
    """Versions, the code that measured, and the environment variables that can change a number."""
    commit = (
        f"{info.git_commit[:12]}{' with uncommitted changes' if info.git_dirty else ''}" if info.git_commit else None
    )
    items = [Fact("bench", clean(info.bench_version))]
    if commit:
        items.append(Fact("Commit", clean(commit)))
    items.append(Fact("Measuring code", clean(f"sha256 {info.code_sha256[:12]}")))
    items += [Fact(clean(name, 200), clean(version)) for name, version in info.packages.items()]
    items += [Fact(clean(name, 200), clean(value) or "(empty)") for name, value in info.environment.items()]
    return Facts("Software", tuple(items))


def subject_facts(results: Results, records: Iterable[Record]) -> Facts:
    """What was measured: weights and data, each once, with the cells it belongs to where they differ."""
    by_cell: dict[str, Mapping[str, Scalar]] = {}
    for record in records:
        if record.subject and record.cell not in by_cell:
            by_cell[record.cell] = record.subject
    items = [Fact("Weights", text) for text in _told_apart(results, by_cell, weights_text)]
    items += [Fact("Data", text) for text in _told_apart(results, by_cell, data_text)]
    items += [Fact("Described in", text) for text in _told_apart(results, by_cell, _paper_text)]
    seeds = dict.fromkeys(point.seed for point in results.points)
    items.append(Fact("Seed", listing(str(seed) for seed in seeds)))
    return Facts("What was measured", tuple(items))


def weights_text(subject: Mapping[str, Scalar]) -> str:
    """`trained, digits-zero.safetensors (sha256 04159c42…), 20,000 steps, EMA`."""
    origin = subject.get("weights.origin")
    if origin is None:
        return ""
    if origin == "random":
        return "random numbers (times and counts do not depend on them; nothing is scored with them)"
    if origin == "none":
        return "none: nothing in the method was learned"
    parts = [str(origin)]
    if source := subject.get("weights.source"):
        parts.append(str(source).rsplit("/", 1)[-1])
    if sha256 := subject.get("weights.sha256"):
        parts[-1] += f" (sha256 {str(sha256)[:8]}{ELLIPSIS})"
    steps = subject.get("weights.steps")
    if isinstance(steps, int | float):
        parts.append(f"{steps:,} steps")
    if subject.get("weights.ema") is not None:
        parts.append("EMA" if subject["weights.ema"] else "raw, not EMA")
    return clean(", ".join(parts))


def data_text(subject: Mapping[str, Scalar]) -> str:
    """`test split (fingerprint 04159c42…)`."""
    fingerprint = subject.get("data.fingerprint")
    if fingerprint is None:
        return ""
    split = subject.get("data.split")
    text = str(fingerprint)
    known = clean(f"fingerprint {text if len(text) <= 40 else text[:8] + ELLIPSIS}", 200)
    return f"{clean(str(split), 200)} split, {known}" if split else known


def _paper_text(subject: Mapping[str, Scalar]) -> str:
    return clean(str(subject.get("paper") or ""))


def _told_apart(results: Results, subjects: Mapping[str, Mapping[str, Scalar]], text_of: TextOf) -> list[str]:
    """The different texts; where there are several, each with what its cells have in common and others have not."""
    groups: dict[str, list[Point]] = {}
    for point in results.points:
        text = text_of(subjects.get(point.id, {}))
        if text:
            groups.setdefault(text, []).append(point)
    if len(groups) < 2:
        return list(groups)
    names = _telling(results, list(groups.values()))
    return [f"{_common(results, points, names)}: {text}" for text, points in groups.items()]


def _telling(results: Results, groups: Sequence[Sequence[Point]]) -> list[str]:
    """The one factor that tells these groups of cells apart, or else all factors that vary over them."""
    points = [point for group in groups for point in group]
    varied = [name for name in results.factor_names() if len(results.values(name, points)) > 1]
    for name in varied:
        values = [each for group in groups for each in results.values(name, group)]
        if all(point.has(name) for point in points) and len(set(as_key(values))) == len(values):
            return [name]
    return varied


def _common(results: Results, points: Sequence[Point], names: Sequence[str]) -> str:
    """`skip = zero`: what these cells have of the factors; of several, only those with one value."""
    found = []
    for name in names:
        values = results.values(name, points)
        if all(point.has(name) for point in points) and (len(values) == 1 or len(names) == 1):
            found.append(f"{short(name)} = {' or '.join(map(label, values))}")
    return ", ".join(found[:3]) or units.plural(len(points), "cell")


def conditions_sentence(info: RunInfo, points: Sequence[Point]) -> str:
    """`Measured on AMD EPYC 7B13 (2 cores): cpu, float32, 1 thread, batch 1.`"""
    names = list(dict.fromkeys(name for point in points for name in point.conditions))
    values = {name: list(dict.fromkeys(point.conditions.get(name) for point in points)) for name in names}
    words = []
    for name, found in values.items():
        if name == "threads":
            words.append(f"{_either(found)} {'thread' if found == [1] else 'threads'}")
        elif name == "batch_size":
            words.append(f"batch {_either(found)}")
        elif name == "compile":
            words += ["compiled"] if found == [True] else ["compiled or not"] if len(found) > 1 else []
        elif name == "memory_format":
            words += [] if found == ["contiguous"] else [_either(found)]
        else:
            words.append(_either(found))
    return f"Measured on {machine_name(info, points)}: {', '.join(words)}."


def machine_name(info: RunInfo, points: Sequence[Point]) -> str:
    """`AMD EPYC (2 logical cores)`: what these cells ran on, the graphics card only where they used one."""
    devices = dict.fromkeys(str(point.conditions.get("device", "cpu")).partition(":")[0] for point in points)
    cores = info.machine.get("logical_cores")
    processor = clean(str(info.machine.get("cpu") or "an unknown processor"), 200)
    if isinstance(cores, int):
        processor += f" ({units.plural(cores, 'logical core')})"
    card = clean(str(info.machine.get("gpu") or "an unknown graphics card"), 200)
    return (
        " and ".join({"cpu": processor, "cuda": card}.get(device, clean(device, 200)) for device in devices)
        or processor
    )


def _either(values: Sequence[Scalar]) -> str:
    return " or ".join(label(value) for value in values)


def repeats_sentence(estimates: Sequence[Estimate]) -> str | None:
    """`Each number: 20 values in 10 visits by 2 processes.`; None for what is measured once."""
    known = [each for each in estimates if not each.exact and each.n > 1 and not each.of_images]
    pictures = [each.n for each in estimates if each.of_images]
    if pictures:
        images = f"Each number of pictures: {_range(pictures)} images."
        timed = repeats_sentence(known)
        return f"{images} {timed}" if timed else images
    if not known:
        return None
    values = _range([each.n for each in known])
    if all(each.visits == 1 for each in known):
        return f"Each number: {values} values of one visit."
    visits, processes = _range([each.visits for each in known]), _range([each.processes for each in known])
    many = "process" if processes == "1" else "processes"
    return f"Each number: {values} values in {visits} visits by {processes} {many}."


def interval_sentence(estimates: Sequence[Estimate]) -> str | None:
    """How the brackets were made; None where there are none."""
    known = [each for each in estimates if each.low is not None and each.resamples is None]
    resampled = [each.resamples for each in estimates if each.low is not None and each.resamples is not None]
    if resampled:
        images = f"{100 * stats.CONFIDENCE:.0f} % interval from {_range(resampled)} bootstrap resamples of the images"
        timed = interval_sentence(known)
        return f"{timed[:-1]}; for numbers of pictures {images}." if timed else f"Brackets: {images}."
    if not known:
        return None
    drawn = "processes and of the rounds inside them" if any(each.visits > 1 for each in known) else "the values"
    share = f"{100 * stats.CONFIDENCE:.0f} %"
    return f"Brackets: {share} interval from {stats.RESAMPLES:,} bootstrap resamples of {drawn}."


def spread_sentence(estimates: Sequence[Estimate]) -> str | None:
    """`Spread of the raw times of one cell: 0.8 % to 2.1 % of their median (interquartile range).`"""
    spreads = [each.spread for each in estimates if each.spread is not None]
    if not spreads:
        return None
    low, high = (spread_text(value) for value in (min(spreads), max(spreads)))
    size = low if low == high else f"{low} to {high}"
    return f"Spread of the raw values of one cell: {size} of their median (interquartile range)."


def spread_text(spread: float) -> str:
    """`0.82 %`, `110 %`: two digits are more than a spread is known to."""
    return f"{float(f'{100 * spread:.2g}'):g} %"


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def alike(sentence: str) -> str:
    """What two warnings have in common when they differ in their numbers only."""
    return re.sub(r"\d+(?:[.,]\d+)*", "#", sentence)


def collapsed(warnings: Sequence[tuple[str, str]], cells: int) -> tuple[tuple[str, frozenset[str]], ...]:
    """Warnings of many cells as few sentences: (cell id, warning) -> (sentence, cells).

    Warnings that differ in their numbers only become one, with the first one's numbers as the example.
    """
    groups: dict[str, dict[str, str]] = {}
    for cell, warning in warnings:
        groups.setdefault(alike(warning), {}).setdefault(cell, clean(warning))
    found = []
    for members in groups.values():
        texts = list(dict.fromkeys(members.values()))
        about = "Every cell" if len(members) == cells > 1 else f"{len(members)} of {units.plural(cells, 'cell')}"
        if len(texts) > 1:
            about += ", for example"
        found.append((f"{about}: {texts[0]}" if cells > 1 else texts[0], frozenset(members)))
    return tuple(found)


def is_widespread(members: frozenset[str], cells: int) -> bool:
    """Whether a warning is about the table: true of more than half of its cells, where marks would hide the numbers."""
    return 2 * len(members) > cells > 0


def common_factors(results: Results) -> tuple[Fact, ...]:
    """Factors and conditions that are the same in every cell."""
    return tuple(
        Fact(short(name) if "." not in name else clean(name, 200), label(values[0]))
        for name in results.factor_names()
        if len(values := results.values(name)) == 1 and all(point.has(name) for point in results.points)
    )
