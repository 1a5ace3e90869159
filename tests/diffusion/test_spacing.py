from __future__ import annotations

import typing
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.diffusion.spacing import Spacing, spaced_timesteps
from bench.errors import ParamError

SPACINGS: tuple[Spacing, ...] = typing.get_args(Spacing)
COUNTS = (1, 2, 3, 7, 10, 30, 50, 80, 90, 256, 333, 512, 900, 999, 1000)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_the_three_shared_spacings_are_those_of_diffusers(spacing: Spacing) -> None:
    """For some n its trailing list has one entry more, timestep -1, by rounding in arange; ours never has."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    scheduler = DDIMScheduler(timestep_spacing=spacing, steps_offset=0)
    for n in range(1, 1001):
        scheduler.set_timesteps(n)
        ours = spaced_timesteps(spacing, n, 1000)
        assert ours == tuple(scheduler.timesteps.tolist()[:n]), n


@pytest.mark.parametrize("n", COUNTS)
def test_the_ddim_pair_is_that_of_the_published_commands(n: int) -> None:
    uniform = tuple(range(0, 1000, 1000 // n))
    quad = tuple(int(s) for s in np.linspace(0, np.sqrt(1000 * 0.8), n) ** 2)

    assert spaced_timesteps("ddim_uniform", n, 1000) == uniform[::-1]
    assert spaced_timesteps("ddim_quad", n, 1000) == quad[::-1]


@pytest.mark.parametrize(("asked", "given_"), [(11, 12), (15, 16), (30, 31), (80, 84), (90, 91), (256, 334), (50, 50)])
def test_ddim_uniform_may_give_more_calls_than_asked(asked: int, given_: int) -> None:
    assert len(spaced_timesteps("ddim_uniform", asked, 1000)) == given_


@pytest.mark.parametrize("n", [n for n in range(1, 1001) if 1000 % n == 0])
def test_leading_equals_ddim_uniform_when_it_divides(n: int) -> None:
    assert spaced_timesteps("leading", n, 1000) == spaced_timesteps("ddim_uniform", n, 1000)


@pytest.mark.parametrize(("n", "duplicates"), [(200, 13), (1000, 312)])
def test_ddim_quad_keeps_its_duplicates_and_reaches_800(n: int, duplicates: int) -> None:
    visited = spaced_timesteps("ddim_quad", n, 1000)

    assert len(visited) == n
    assert len(visited) - len(set(visited)) == duplicates
    assert visited[0] == 800


@settings(deadline=None)
@given(spacing=st.sampled_from(SPACINGS), total=st.integers(1, 1200), data=st.data())
def test_every_spacing_descends_inside_the_chain(spacing: Spacing, total: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, total))

    visited = spaced_timesteps(spacing, n, total)

    assert all(0 <= t < total for t in visited)
    assert all(later <= earlier for earlier, later in pairwise(visited))
    if spacing != "ddim_uniform":
        assert len(visited) == n
    if spacing != "ddim_quad":
        assert len(set(visited)) == len(visited)


def test_all_timesteps_are_visited_when_all_are_asked_for() -> None:
    for spacing in ("leading", "trailing", "linspace", "ddim_uniform"):
        assert spaced_timesteps(spacing, 1000, 1000) == tuple(range(999, -1, -1))


@pytest.mark.parametrize("n", [0, -1, 1001])
def test_an_impossible_count_is_refused(n: int) -> None:
    with pytest.raises(ParamError, match=f"between 1 and the 1000 training timesteps, got {n}"):
        spaced_timesteps("leading", n, 1000)


def test_an_unknown_spacing_is_refused() -> None:
    with pytest.raises(ParamError, match="ddim_quad, got 'quad'"):
        spaced_timesteps("quad", 10, 1000)  # type: ignore[arg-type]
