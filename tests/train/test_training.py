"""Training: what is drawn, that a killed training goes on exactly, and what the passport says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import bench.data.catalogue
import bench.models.catalogue  # noqa: F401 - registers the model
from bench.errors import BadCheckpoint, ParamError
from bench.files import file_hash
from bench.models.skip_schedule import skip_table
from bench.passport import read_passport
from bench.suite.schema import Ref
from bench.train.command import build_data, build_model, run_recipe
from bench.train.loop import Progress, ema_decay, learning_rate, train
from bench.train.recipe import OptimizerSpec, Recipe, SchemeSpec, TrainSpec
from bench.train.schemes import constant_intervals, draw_batch


def recipe(depths: str = "uniform", steps: int = 6, save_every: int = 2, seed: int = 0) -> Recipe:
    return Recipe(
        schema=1,
        recipe="tiny",
        title="A few steps on digits",
        model=Ref(name="skip-unet", params={"skip": "zero", "skip_exponent": 2}),
        data=Ref(name="digits", params={"split": "train"}),
        scheme=SchemeSpec(depths=depths, skip_exponent=2 if depths == "aligned" else None),
        train=TrainSpec(steps=steps, batch_size=4, ema=0.9, save_every=save_every),
        optimizer=OptimizerSpec(lr=1e-3),
        seed=seed,
    )


class Killed(Exception):
    """Stands for a kill between two steps."""


def kill_after(step: int):
    def on_step(progress: Progress) -> None:
        if progress.step == step:
            raise Killed

    return on_step


@pytest.mark.parametrize("depths", ["full", "uniform", "aligned"])
def test_a_killed_training_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path, depths: str) -> None:
    whole = run_recipe(recipe(depths), recipe_name="tiny.yaml", out_dir=tmp_path / "whole")
    with pytest.raises(Killed):
        run_recipe(recipe(depths), recipe_name="tiny.yaml", out_dir=tmp_path / "cut", on_step=kill_after(5))
    cut = run_recipe(recipe(depths), recipe_name="tiny.yaml", out_dir=tmp_path / "cut")

    assert file_hash(cut) == file_hash(whole)
    assert not list((tmp_path / "cut").glob(".*.partial"))


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    first = run_recipe(recipe(seed=0), recipe_name="tiny.yaml", out_dir=tmp_path / "a")
    second = run_recipe(recipe(seed=1), recipe_name="tiny.yaml", out_dir=tmp_path / "b")

    assert file_hash(first) != file_hash(second)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    run_recipe(recipe(), recipe_name="tiny.yaml", out_dir=tmp_path)

    run_recipe(recipe(), recipe_name="tiny.yaml", out_dir=tmp_path, on_step=kill_after(1))


def test_the_passport_says_what_the_weights_are(tmp_path: Path) -> None:
    weights = run_recipe(recipe(), recipe_name="tiny.yaml", out_dir=tmp_path)
    passport = read_passport(weights)

    assert passport.sha256 == file_hash(weights)
    assert (passport.steps, passport.ema, passport.seed, passport.prediction) == (6, True, 0, "epsilon")
    assert passport.data == build_data(recipe()).fingerprint
    assert passport.data_split == "train"
    assert passport.probe is not None and passport.probe.timesteps == (0, 250, 999)
    assert passport.curve[-1][0] == 6.0
    assert set(load_file(weights)) == set(build_model(recipe()).network.state_dict())


def test_a_state_of_another_recipe_is_not_continued(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run_recipe(recipe(seed=0), recipe_name="tiny.yaml", out_dir=tmp_path, on_step=kill_after(5))

    with pytest.raises(BadCheckpoint, match="another version of the recipe; delete it"):
        run_recipe(recipe(seed=1), recipe_name="tiny.yaml", out_dir=tmp_path)


def test_a_damaged_state_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".tiny.partial").write_bytes(b"not a state")

    with pytest.raises(BadCheckpoint, match="cannot be continued"):
        run_recipe(recipe(), recipe_name="tiny.yaml", out_dir=tmp_path)


def test_skipped_levels_are_left_exactly_where_they_were(tmp_path: Path) -> None:
    """No gradient, no momentum: a level that no batch has used keeps its weights bit for bit."""
    aligned = recipe("aligned", steps=3, seed=2)
    denoiser = build_model(aligned)
    before = {name: tensor.clone() for name, tensor in denoiser.network.state_dict().items()}
    assert denoiser.stage is not None
    intervals = constant_intervals(denoiser.stage, 1000)
    levels_used = 4 - min(draw(step, aligned, intervals).num_skipped for step in range(3))
    train(aligned, denoiser, build_data(aligned), state_path=tmp_path / "state")
    after = denoiser.network.state_dict()

    unchanged = [
        level
        for level in range(4)
        if all(torch.equal(before[key], after[key]) for key in before if key.startswith(f"down.{level}.block"))
    ]
    assert 0 < levels_used < 4  # the seed was chosen so that the test says something
    assert unchanged == list(range(levels_used, 4))


def draw(step: int, recipe: Recipe, intervals=(), num_depths: int = 4):
    return draw_batch(
        step,
        seed=recipe.seed,
        num_images=100,
        num_train_timesteps=1000,
        num_depths=num_depths,
        scheme=recipe.scheme,
        train=recipe.train,
        intervals=intervals,
    )


def test_scheme_1_draws_every_depth_equally_often() -> None:
    counts = Counter(draw(step, recipe("uniform")).num_skipped for step in range(4000))

    assert sorted(counts) == [0, 1, 2, 3]
    assert all(abs(count / 4000 - 0.25) < 0.03 for count in counts.values())


def test_scheme_2_keeps_a_batch_in_one_interval_and_the_marginal_uniform() -> None:
    table = skip_table(4, 2)
    intervals = constant_intervals(lambda t: table[t], 1000)
    draws = [draw(step, recipe("aligned"), intervals) for step in range(3000)]

    assert [(each.first, each.last, each.num_skipped) for each in intervals] == [
        (0, 133, 0),
        (134, 292, 1),
        (293, 499, 2),
        (500, 999, 3),
    ]
    assert all({table[t] for t in each.t.tolist()} == {each.num_skipped} for each in draws)
    every_t = torch.cat([each.t for each in draws]).double()
    assert abs(float(every_t.mean()) - 499.5) < 12
    assert abs(sum(each.num_skipped == 3 for each in draws) / 3000 - 0.5) < 0.03


def test_antithetic_timesteps_come_in_pairs() -> None:
    spec = recipe("uniform").train.model_copy(update={"batch_size": 6})
    t = draw(0, recipe("uniform").model_copy(update={"train": spec})).t.tolist()

    # Four are drawn for a batch of six; the mirrored ones follow in the same order.
    assert [t[0] + t[4], t[1] + t[5]] == [999, 999]


def test_the_schedule_of_the_learning_rate_and_of_the_average() -> None:
    spec = OptimizerSpec(lr=1.0, final_lr=0.0, warmup=10)

    assert learning_rate(0, 110, spec) == pytest.approx(0.1)
    assert learning_rate(10, 110, spec) == pytest.approx(1.0)
    assert learning_rate(60, 110, spec) == pytest.approx(0.5)
    assert ema_decay(0, 0.999) == pytest.approx(0.1)
    assert ema_decay(100_000, 0.999) == 0.999


def test_an_aligned_scheme_with_another_exponent_than_the_model_is_refused(tmp_path: Path) -> None:
    wrong = recipe("aligned").model_copy(update={"scheme": SchemeSpec(depths="aligned", skip_exponent=3)})

    with pytest.raises(ParamError, match="they must be the same c"):
        train(wrong, build_model(wrong), build_data(wrong), state_path=tmp_path / "state")
