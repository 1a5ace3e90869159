"""Figures made of files that a run left: a panel for each cell, in a grid or one below the other."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.places import choose
from bench.analysis.results import Key, Point, as_key, varying
from bench.analysis.samples import Missing, at_text, chosen_records
from bench.report.document import Figure, Picture
from bench.report.grids import Measured, shown
from bench.report.pictures import BadPicture, Png, read_picture
from bench.report.plain import clean, factor_text, listing
from bench.suite.schema import FigureSpec, Quantity

MOST_BYTES = 32 * 2**20
"""Of all pictures of one figure, because a page holds them all."""


def picture_figure(spec: FigureSpec, measured: Measured) -> Figure:
    """Kinds `images` and `strip`: the PNG that `value` names in each cell, and a reason where there is none."""
    assert spec.value is not None  # the reader checked it
    cells = shown(measured.results.points, spec.where)
    pictures = []
    room = MOST_BYTES
    for title, points in _panels(spec, spec.value, cells):
        picture = _picture(spec, title, _png(measured, points, spec.value), room)
        room -= len(picture.content)
        pictures.append(picture)
    notes = () if pictures else ("No cell of the suite is meant by this figure.",)
    return Figure(
        clean(spec.id, 200),
        clean(spec.caption),
        "",
        "",
        (),
        notes=notes,
        pictures=tuple(pictures),
        wide=spec.kind == "strip",
    )


def _panels(spec: FigureSpec, quantity: Quantity, cells: Sequence[Point]) -> list[tuple[str, tuple[Point, ...]]]:
    """Title and cells of each panel; several cells only where a rule chooses one of them.

    The value of `series` is enough of a title where it alone tells the panels apart.
    """
    names = [name for name in varying(cells) if quantity.chosen is None or name != quantity.chosen.over]
    if spec.series is not None:
        names = [spec.series, *(name for name in names if name != spec.series)]
    groups: dict[Key, list[Point]] = {}
    for point in cells:
        alone = point.id if quantity.chosen is None else ""
        key = as_key([alone, *(point.value(name) if point.has(name) else None for name in names)])
        groups.setdefault(key, []).append(point)
    if spec.series is not None:
        values = [as_key([group[0].value(spec.series)]) for group in groups.values() if group[0].has(spec.series)]
        if len(set(values)) == len(groups):
            names = [spec.series]
    return [
        (", ".join(factor_text(name, group[0].value(name)) for name in names if group[0].has(name)), tuple(group))
        for group in groups.values()
    ]


def _png(measured: Measured, points: tuple[Point, ...], quantity: Quantity) -> tuple[str, Png] | Missing:
    """The file of one panel and its name in the run's folder."""
    point = points[0] if quantity.chosen is None else choose(measured.results, points, quantity.chosen)
    if isinstance(point, Missing):
        return point
    records = chosen_records(measured.results, point, quantity)
    if isinstance(records, Missing):
        return records
    names = list(dict.fromkeys(record.artifact for record in records if record.artifact is not None))
    if not names:
        return Missing("unclear", f"{quantity.metric} names no picture", (point.id,))
    if len(names) > 1:
        kinds = dict.fromkeys(at_text(record.at) for record in records)
        reason = f"{quantity.metric} names {len(names)} pictures; choose one with `at`: {listing(kinds)}"
        return Missing("unclear", reason, (point.id,))
    if measured.folder is None:
        return Missing("not shown", "the folder of the run is not known here", (point.id,))
    try:
        return names[0], read_picture(measured.folder, names[0])
    except BadPicture as error:
        return Missing("unreadable", f"{names[0]} {error}", (point.id,))


def _picture(spec: FigureSpec, title: str, found: tuple[str, Png] | Missing, room: int) -> Picture:
    alt = clean(f"{spec.caption}: {title}" if title else spec.caption)
    if isinstance(found, Missing):
        return Picture(title, alt, status=clean(found.status, 200), reason=clean(found.reason))
    name, png = found
    if len(png.content) > room:
        reason = f"the pictures of this figure have more than {MOST_BYTES:,} bytes; this one lies in the run's folder"
        return Picture(title, alt, clean(name, 300), sha256=png.sha256, status="not shown", reason=reason)
    return Picture(title, alt, clean(name, 300), png.content, png.width, png.height, png.sha256)
