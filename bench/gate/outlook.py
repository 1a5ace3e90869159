"""What a gate will see and how long it will take, said before anything is judged."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import units
from bench.gate import rule
from bench.gate.pairs import Unit
from bench.gate.rule import Forecast, Plan

POOLED = 3
"""As how many units of its own all cells together count, when the noise of one cell is estimated."""


@dataclass(frozen=True)
class Outlook:
    """A forecast in numbers and in words."""

    noise: Mapping[int, float]
    """Cell -> standard deviation of u when nothing changed."""
    forecasts: Mapping[int, Forecast]
    usual_s: float
    """Expected time when nothing changed."""
    longest_s: float
    """Until the last look; a confirmation takes as long again at most."""
    sees: str
    takes: str


def outlook(calibration: Mapping[int, Sequence[Unit]], start_s: float, plan: Plan) -> Outlook:
    """calibration: units of the base against itself, by cell. start_s: of one pair of processes."""
    noise = noise_of(calibration)
    forecasts = {cell: rule.forecast(each, plan) for cell, each in noise.items()}
    worst = max(noise, key=lambda cell: noise[cell])
    smallest = forecasts[worst].smallest
    visit_s = {cell: statistics.median(unit.took_s for unit in found) for cell, found in calibration.items()}
    at_rest = max(each.units for each in forecasts.values())
    usual_s = at_rest * start_s + sum(forecasts[cell].units * seconds for cell, seconds in visit_s.items())
    longest_s = plan.most * (start_s + sum(visit_s.values()))
    found = (
        f"a slowdown of {100 * smallest:.1f} % or more will be found"
        if smallest is not None
        else f"even a slowdown of {200 * plan.tolerance:g} % may be missed: it is too noisy"
    )
    where = " in the noisiest cell" if len(noise) > 1 else ""
    why = next((unit.disturbed for each in calibration.values() for unit in each if unit.disturbed), None)
    disturbed = f"; something else is running here: {why}" if why else ""
    return Outlook(
        noise,
        forecasts,
        usual_s,
        longest_s,
        f"on this machine two processes of the same code differ by {100 * noise[worst]:.1f} %{where}; "
        f"{found}{disturbed}",
        f"{units.plural(len(noise), 'cell')}: about {units.duration(usual_s)} when nothing changed, at most "
        f"{units.duration(longest_s)}, and as long again at most to confirm a slowdown",
    )


def noise_of(calibration: Mapping[int, Sequence[Unit]]) -> dict[int, float]:
    """Standard deviation of u for each cell, from units of which the truth is 0. Cells lend each other strength."""
    pooled = statistics.fmean(unit.value**2 for found in calibration.values() for unit in found)
    return {
        cell: math.sqrt((math.fsum(unit.value**2 for unit in found) + POOLED * pooled) / (len(found) + POOLED))
        for cell, found in calibration.items()
    }
