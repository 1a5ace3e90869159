"""`bench train RECIPE`: from a recipe file to a checkpoint and its passport."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save
from torch import Tensor, nn

from bench.contracts import Dataset, Denoiser, Restorer, Value
from bench.diffusion.noise import image_noise
from bench.files import write_whole
from bench.passport import (
    PASSPORT_SCHEMA,
    GoldenProbe,
    Passport,
    is_finished,
    keys_fingerprint,
    write_passport,
)
from bench.registry import DATASETS, MODELS, check_params
from bench.train.gallery import write_gallery, write_restored
from bench.train.loop import Progress, Trained, train
from bench.train.recipe import Recipe, weights_file
from bench.train.state import TRAIN_AGAIN, recipe_fingerprint

PROBE_TIMESTEPS = (0, 250, 999)
PROBE_SEED = 0
CLEAN_IMAGE = "clean image"
"""What a restorer predicts, for its passport."""


def run_recipe(
    recipe: Recipe,
    *,
    recipe_name: str,
    out_dir: Path,
    device: str = "cpu",
    threads: int = 1,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Train and write `<recipe>.safetensors` with its passport into out_dir; returns the weights file.

    A finished training is not repeated: when the passport already carries this recipe's fingerprint, its file is
    returned. An unfinished one goes on from `.<recipe>.partial`, which stays until the passport is written. Raises
    SaveError when something cannot be written, BadCheckpoint for a state or passport that was damaged.
    """
    weights = weights_file(recipe, out_dir)
    if is_finished(weights, recipe_fingerprint(recipe)):
        return weights
    torch.set_num_threads(threads)
    model = build_model(recipe)
    data = build_data(recipe)
    state_path = out_dir / f".{recipe.recipe}.partial"
    trained = train(recipe, model, data, state_path=state_path, device=device, on_step=on_step)
    _save(trained, recipe, model, data, recipe_name, weights)
    state_path.unlink(missing_ok=True)
    return weights


def build_model(recipe: Recipe) -> Denoiser | Restorer:
    """The untrained model of a recipe."""
    entry = MODELS.get(recipe.model.name)
    return entry.factory(**check_params(entry, {**recipe.model.params, "weights": "random"}))


def build_data(recipe: Recipe, split: str | None = None) -> Dataset:
    """The training images of a recipe, or another split of the same data set where it has one."""
    entry = DATASETS.get(recipe.data.name)
    other = {} if split is None or "split" not in entry.parameters() else {"split": split}
    return entry.factory(**check_params(entry, {**recipe.data.params, **other}))


def default_folder() -> Path:
    """Where shipped weights lie, in a clone or an installation."""
    return Path(str(files("bench.models") / "weights"))


def draw_gallery(recipe: Recipe, weights: Path) -> Path:
    """The picture beside the weights: samples of a denoiser, at c = 0 and c = 2 where it skips levels; images of the
    test split before and after a restorer."""
    entry = MODELS.get(recipe.model.name)
    params = {**recipe.model.params, "weights": str(weights)}
    variants = [{**params, "skip_exponent": c} for c in (0, 2)] if "skip_exponent" in entry.parameters() else [params]
    built = [entry.factory(**check_params(entry, variant)) for variant in variants]
    path = weights.with_suffix(".png")
    if isinstance(built[0], Restorer):
        return write_restored(built[0], build_data(recipe, split="test"), path)
    return write_gallery([each for each in built if isinstance(each, Denoiser)], path)


def _save(
    trained: Trained, recipe: Recipe, model: Denoiser | Restorer, data: Dataset, recipe_name: str, weights: Path
) -> None:
    """Write the averaged weights, then the passport: a file without one is never taken for finished."""
    dtype = getattr(torch, recipe.store_dtype)
    stored = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in trained.ema.items()
    }
    content = save(stored)
    write_whole(weights, content, advice=TRAIN_AGAIN)
    params: dict[str, Value] = {key: value for key, value in recipe.model.params.items() if key != "weights"}
    write_passport(
        Passport(
            schema=PASSPORT_SCHEMA,
            name=recipe.recipe,
            sha256=sha256(content).hexdigest(),
            format="native",
            keys_sha256=keys_fingerprint((name, tuple(tensor.shape)) for name, tensor in stored.items()),
            model=recipe.model.name,
            params=params,
            prediction=str(model.prediction) if isinstance(model, Denoiser) else CLEAN_IMAGE,
            ema=True,
            steps=recipe.train.steps,
            dtype=recipe.store_dtype,
            origin="trained",
            recipe=recipe_name,
            recipe_sha256=recipe_fingerprint(recipe),
            data=data.fingerprint,
            data_split=data.split,
            seed=recipe.seed,
            made_with=trained.made_with,
            seconds=round(trained.seconds, 1),
            curve=tuple((step, float(f"{loss:.6g}")) for step, loss in trained.curve),
            facts={"schedule": ", ".join(f"{key}={value}" for key, value in asdict(model.schedule).items())},
            probe=golden_probe(model, stored),
        ),
        weights,
    )


def golden_probe(model: Denoiser | Restorer, weights: dict[str, Tensor]) -> GoldenProbe:
    """The answers of the network, with these weights as they are stored, to one seeded noise image.

    A restorer is given the timesteps for sigma; those that ship do not read it.
    """
    network = cast(nn.Module, model.network if isinstance(model, Denoiser) else model.restore).cpu().eval()
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    assert model.image_shape is not None  # what is trained was built for images of one shape
    x_t = image_noise(PROBE_SEED, 0, "probe", model.image_shape)[None]
    means, stds = [], []
    with torch.inference_mode():
        for t in PROBE_TIMESTEPS:
            out = network(x_t, torch.tensor([t])).double()
            means.append(float(out.mean()))
            stds.append(float(out.std(correction=0)))
    assert all(map(math.isfinite, means + stds))  # trained weights are finite, or training would have stopped
    return GoldenProbe(PROBE_SEED, PROBE_TIMESTEPS, tuple(means), tuple(stds))
