"""Training restorers: which noise they see, what they are asked for, and which recipes are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.contracts import Restorer, ScheduleSpec, Weights
from bench.diffusion.restoring import sigma_of
from bench.diffusion.schedule import build_schedule
from bench.errors import ParamError, SuiteError
from bench.files import file_hash
from bench.models.checkpoints.load import verify_probe
from bench.passport import read_passport
from bench.registry import load_builtins
from bench.suite.schema import Ref
from bench.train.command import build_model, draw_gallery, run_recipe
from bench.train.loop import Progress
from bench.train.objectives import build_objective
from bench.train.reading import parse_recipe, read_recipe
from bench.train.recipe import ObjectiveSpec, Recipe, SchemeSpec, TrainSpec
from bench.train.schemes import draw_batch
from bench.train.state import recipe_fingerprint

SPEC = ScheduleSpec("sigmoid")
RECIPES = Path(__file__).parents[2] / "models" / "recipes"

load_builtins()


def recipe(model: str = "dncnn", *, learns: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    params: dict[str, Any] = {"width": 8, "depth": 4} if model == "dncnn" else {}
    fields: dict[str, Any] = {
        "schema": 1,
        "recipe": "tiny",
        "title": "A few steps on digits",
        "model": Ref(name=model, params=params),
        "data": Ref(name="digits", params={"split": "train"}),
        "objective": ObjectiveSpec(**(learns or {"kind": "restore", "sigma": 0.1})),
        "train": TrainSpec(steps=4, batch_size=4, ema=0.9, save_every=2),
    }
    return Recipe(**{**fields, **changes})


class Listening(nn.Module):
    """Gives back what it sees, and remembers it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        self.seen.append((noisy, sigma))
        return noisy


def batches(objective: dict[str, Any], steps: int = 20, size: int = 64) -> tuple[list[tuple[Tensor, Tensor]], float]:
    """What a restorer meets over some steps on grey images (x0 = 0), and the mean of its losses."""
    network = Listening()
    spec = recipe(learns=objective, train=TrainSpec(steps=steps, batch_size=size))
    made = build_objective(spec, Restorer(network, SPEC, Weights("random"), (1, 4, 4)))
    losses = []
    for step in range(steps):
        draw = draw_batch(
            step, seed=0, num_images=9, num_train_timesteps=1000, num_depths=1, scheme=SchemeSpec(), train=spec.train
        )
        losses.append(float(made.loss(torch.zeros(size, 1, 4, 4), draw)))
    return network.seen, sum(losses) / steps


def test_at_one_sigma_every_image_has_that_much_noise_and_the_loss_is_its_variance() -> None:
    seen, loss = batches({"kind": "restore", "sigma": 0.1})
    noisy = torch.cat([each for each, _ in seen])

    assert torch.cat([sigma for _, sigma in seen]).eq(0.1).all()
    assert noisy.mean().item() == pytest.approx(0.5, abs=0.005)
    assert noisy.std().item() == pytest.approx(0.1, rel=0.02)
    assert loss == pytest.approx(0.01, rel=0.05)


def test_at_several_levels_all_come_equally_often_with_their_own_sigma() -> None:
    seen, _ = batches({"kind": "restore", "t_start": (50, 400)})
    noisy, sigma = (torch.cat(parts) for parts in zip(*seen, strict=True))
    schedule = build_schedule(SPEC)
    # So many steps of noise end at the timestep before, in the count from 0.
    levels = [sigma_of(49, schedule), sigma_of(399, schedule)]
    light = sigma < 0.2

    assert sorted({round(each, 5) for each in sigma.tolist()}) == pytest.approx(levels, abs=1e-5)
    assert light.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert noisy[light].std().item() == pytest.approx(levels[0], rel=0.03)
    assert noisy[~light].std().item() == pytest.approx(levels[1], rel=0.03)


def test_a_restorer_is_trained_saved_probed_and_loaded_by_its_path(tmp_path: Path) -> None:
    weights = run_recipe(recipe(), recipe_name="tiny.yaml", out_dir=tmp_path)
    passport = read_passport(weights)
    verify_probe(weights)
    loaded = build_model(recipe(model="dncnn"))
    assert isinstance(loaded, Restorer) and isinstance(loaded.restore, nn.Module)

    assert (passport.prediction, passport.model, passport.steps) == ("clean image", "dncnn", 4)
    assert set(load_file(weights)) == set(loaded.restore.state_dict())
    with Image.open(draw_gallery(recipe(), weights)) as picture:
        assert picture.size == (360, 252)  # ten images of 18 pixels twice over, in seven rows


def test_a_killed_training_of_a_restorer_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    def kill(progress: Progress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    several = recipe(learns={"kind": "restore", "t_start": (50, 400)})
    whole = run_recipe(several, recipe_name="tiny.yaml", out_dir=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_recipe(several, recipe_name="tiny.yaml", out_dir=tmp_path / "cut", on_step=kill)
    cut = run_recipe(several, recipe_name="tiny.yaml", out_dir=tmp_path / "cut")

    assert file_hash(cut) == file_hash(whole)


def test_training_lowers_the_error(tmp_path: Path) -> None:
    losses: list[float] = []
    longer = recipe(train=TrainSpec(steps=60, batch_size=16, ema=0.9))

    run_recipe(longer, recipe_name="t.yaml", out_dir=tmp_path, on_step=lambda progress: losses.append(progress.loss))

    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.parametrize(
    ("model", "changes", "sentence"),
    [
        ("dncnn", {"objective": ObjectiveSpec()}, "is a restorer; train it with objective.kind 'restore'"),
        ("lucid-unet", {}, "is a denoiser; train it with objective.kind 'denoise'"),
        ("noisy", {}, "'noisy' has nothing that could be trained"),
        ("dncnn", {"objective": ObjectiveSpec(kind="restore")}, "needs its noise"),
        ("dncnn", {"objective": ObjectiveSpec(kind="restore", t_start=(1001,))}, "beyond the 1000 steps"),
    ],
)
def test_a_recipe_that_does_not_fit_its_model_is_refused(model: str, changes: dict[str, Any], sentence: str) -> None:
    asked = recipe(model, **changes)
    if model == "noisy":
        restorer: Any = Restorer(lambda noisy, sigma: noisy, SPEC, Weights("none"))
    else:
        restorer = build_model(asked)

    with pytest.raises(ParamError, match=sentence):
        build_objective(asked, restorer)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("objective: {kind: restore}", "needs its noise, t_start: "),
        ("objective: {kind: restore, sigma: 0.1, t_start: [50]}", "needs its noise, t_start: "),
        ("objective: {sigma: 0.1}", "takes neither t_start nor sigma"),
        ("objective: {kind: restore, t_start: [0]}", "at least 1"),
        ("objective: {kind: restore, sigma: -1}", "above 0|greater than 0"),
    ],
)
def test_mistakes_in_the_objective_are_found_when_the_recipe_is_read(line: str, sentence: str) -> None:
    text = (RECIPES / "digits-dncnn-one-level.yaml").read_text(encoding="utf-8")
    wrong = "\n".join(line if each.startswith("objective:") else each for each in text.splitlines())

    with pytest.raises(SuiteError, match=sentence):
        parse_recipe(wrong, "r.yaml")


def test_recipes_without_an_objective_keep_the_fingerprint_they_had() -> None:
    """Their checkpoints were made when there was no other objective."""
    old = read_recipe(RECIPES / "digits-ddpm-unet.yaml")
    passport = read_passport(RECIPES.parent / "weights" / "digits-ddpm-unet.safetensors")

    assert recipe_fingerprint(old) == passport.recipe_sha256
    assert recipe_fingerprint(recipe()) != recipe_fingerprint(recipe(learns={"kind": "restore", "sigma": 0.2}))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*-level*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_of_a_restorer_fits_its_model(path: Path) -> None:
    shipped = read_recipe(path)

    assert shipped.recipe == path.stem
    assert build_objective(shipped, build_model(shipped)).num_depths == 1
