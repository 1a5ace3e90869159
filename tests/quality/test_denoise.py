"""The denoising study on toys: what is scored at which step, what is kept, and what each number is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.contracts import Denoiser, Measurement, Need, Prediction, Restorer, ScheduleSpec, Weights
from bench.diffusion.restoring import as_denoiser
from bench.diffusion.samplers import build_chain
from bench.diffusion.schedule import build_schedule
from bench.errors import MeasurementError, MissingWeights, NonFiniteOutput, ParamError, Unsupported
from bench.quality import curves as module
from bench.quality.curves import curves_of, walk_back
from bench.quality.preprocess import to_unit
from bench.quality.scores import score_pictures
from bench.registry import METRICS, MODELS, load_builtins, metric_spec
from bench.subject import Subject
from bench.suite.schema import Effort, Ref

Build = Callable[..., Subject]
SPEC = ScheduleSpec("sigmoid")


class Wiener(nn.Module):
    """The best linear guess of x_0 at each timestep, for pixels of the given mean and variance."""

    def __init__(self, mean: float = -0.5, variance: float = 0.3) -> None:
        super().__init__()
        self.schedule = build_schedule(SPEC)
        self.mean, self.variance = mean, variance
        self.seen = 0

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.seen += len(x_t)
        a = self.schedule.alpha_bar_of(t).float()[:, None, None, None]
        gain = a.sqrt() * self.variance / (a * self.variance + 1 - a)
        return self.mean + gain * (x_t - a.sqrt() * self.mean)


def walking(
    subject: Subject, network: Any = None, t_start: int = 12, walk: str = "posterior-mean", **params: Any
) -> Subject:
    """The toy subject on another network, walking the chain back from t_start steps of noise."""
    network = network or Wiener()
    sha256 = f"{getattr(network, 'mean', 0):064}"  # as other weights have another hash
    made = Denoiser(network, (1, 16, 16), Prediction.X0, SPEC, Weights("trained", "toy", sha256=sha256, ema=True))
    wanted = {"t_start": t_start, "walk": walk, **params}
    assert subject.cell is not None
    cell = subject.cell.model_copy(update={"sampler": Ref(name="chain", params=wanted)})
    sampler = build_chain(SPEC, t_start, walk, params.get("stride", 1), params.get("clip_x0", True))  # type: ignore[arg-type]
    return replace(subject, denoiser=made, sampler=sampler, cell=cell)


def measured(subject: Subject, **params: Any) -> dict[tuple[str, str, str, str], Measurement]:
    load_builtins()
    wanted = {"images": 6, "scores": ("ssim", "mse"), "replicates": 20, **params}
    found = METRICS.get("denoising").factory(subject, Effort(), **wanted)
    return {
        (str(m.at["score"]), str(m.at["iterate"]), str(m.at["which"]), str(m.at["statistic"])): m
        for m in found
        if "score" in m.at
    }


def test_each_step_scores_the_rescaled_iterate_and_the_predicted_clean_image(toy_subject: Build) -> None:
    """Against a walk written out by hand for one image."""
    subject = walking(toy_subject(), t_start=5)
    schedule, network = build_schedule(SPEC), Wiener()
    clean = to_unit(subject.data[2:3])  # type: ignore[index]
    x_t = subject.noised(2, 3, 4)
    expected = []
    for t in (4, 3, 2, 1, 0):
        pred_x0 = network(x_t, torch.tensor([t])).clamp(-1, 1)
        a, before = schedule.alpha_bar(t), schedule.alpha_bar(t - 1)
        beta = 1 - a / before
        x_t = before**0.5 * beta / (1 - a) * pred_x0 + (1 - beta) ** 0.5 * (1 - before) / (1 - a) * x_t
        pictures = (to_unit(x_t / before**0.5), to_unit(pred_x0))
        expected.append([float(score_pictures("ssim", each, clean)) for each in pictures])

    found = curves_of(subject, 3, ("mse", "ssim"))

    np.testing.assert_allclose(found.values[:, :, 1, 2], expected, atol=1e-5)
    assert found.timesteps == (4, 3, 2, 1, 0)
    assert found.noisy[1, 2] == pytest.approx(
        float(score_pictures("ssim", to_unit(subject.noised(2, 3, 4) / schedule.alpha_bar(4) ** 0.5), clean)), abs=1e-5
    )


class Oracle(nn.Module):
    """Gives the clean picture that its input was made of."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        nearest = (x_t[:, None] - self.clean[None]).flatten(2).square().sum(dim=2).argmin(dim=1)
        return self.clean[nearest]


def test_a_psnr_at_its_limit_says_so(toy_subject: Build) -> None:
    subject = toy_subject()
    perfect = walking(subject, Oracle(subject.data[0:6]))  # type: ignore[index]
    note = "PSNR is at most 120 dB here: that of pictures which are equal would be infinite"

    equal, unequal = measured(perfect, scores=("psnr",)), measured(walking(subject), scores=("psnr",))

    assert equal["psnr", "pred_x0", "final", "value"].values == (120.0,) * 6
    assert note in equal["psnr", "pred_x0", "final", "value"].warnings
    assert note not in equal["psnr", "x_t", "noisy", "value"].warnings
    assert note not in equal["psnr", "pred_x0", "best_step", "value"].warnings
    assert not any(note in each.warnings for each in unequal.values())


def test_after_the_last_step_iterate_and_prediction_are_one_picture(toy_subject: Build) -> None:
    found = curves_of(walking(toy_subject()), 4, ("ssim",))

    np.testing.assert_allclose(found.of("x_t", "ssim")[-1], found.of("pred_x0", "ssim")[-1], atol=1e-6)


@pytest.mark.parametrize("walk", ["posterior-mean", "ancestral", "ddim"])
def test_every_walk_is_scored_and_ancestral_noise_belongs_to_the_image(
    toy_subject: Build, tmp_path: Path, walk: str
) -> None:
    subject = walking(toy_subject(), walk=walk)
    pictures: list[list[Tensor]] = [[], []]
    for index, (low, high) in enumerate(((0, 3), (2, 3))):
        walk_back(subject, low, high, lambda step, x_t, pred_x0, index=index: pictures[index].append(x_t))  # type: ignore[misc]

    for together, alone in zip(*pictures, strict=True):
        torch.testing.assert_close(together[2:], alone, atol=1e-5, rtol=0)


def test_every_model_meets_the_same_noisy_image(toy_subject: Build) -> None:
    one = curves_of(walking(toy_subject(), Wiener()), 4, ("psnr",))
    other = curves_of(walking(toy_subject(), Wiener(0.0, 0.1)), 4, ("psnr",))

    assert np.array_equal(one.noisy, other.noisy)
    assert not np.array_equal(one.values, other.values)


def test_every_number_is_what_its_name_says(toy_subject: Build) -> None:
    subject = walking(toy_subject(), t_start=20)
    found = measured(subject)
    curves = curves_of(subject, 6, ("ssim", "mse"))

    for score, best_of in (("ssim", np.ndarray.max), ("mse", np.ndarray.min)):
        for iterate in ("x_t", "pred_x0"):
            values = curves.of(iterate, score)  # type: ignore[arg-type]

            def of(which: str, score: str = score, iterate: str = iterate) -> Any:
                return np.array(found[score, iterate, which, "value"].values)

            steps = of("best_step").astype(int)
            np.testing.assert_allclose(of("best"), best_of(values, axis=0), rtol=1e-6)
            np.testing.assert_allclose(values[steps - 1, np.arange(6)], of("best"), rtol=1e-6)
            assert of("best_timestep").tolist() == (20 - steps).tolist()  # step k calls the network at t_start - k
            np.testing.assert_allclose(of("first"), values[0], rtol=1e-6)
            np.testing.assert_allclose(of("final"), values[-1], rtol=1e-6)
            chosen = of("chosen_step").astype(int)
            assert set(chosen[::2]) == {int(best_of_mean(values[:, 1::2], score)) for _ in (0,)}
            np.testing.assert_allclose(values[chosen - 1, np.arange(6)], of("chosen"), rtol=1e-6)
            judged = np.array(found["ssim", iterate, "chosen_step", "value"].values).astype(int)
            np.testing.assert_allclose(values[judged - 1, np.arange(6)], of("judged"), rtol=1e-6)
            assert of("mean_chosen").tolist() == pytest.approx([of("chosen").mean()], rel=1e-5)
            np.testing.assert_allclose(of("mean_curve"), values.mean(axis=1), rtol=1e-6)
            np.testing.assert_allclose(of("curve"), values[:, 0], rtol=1e-6)
            assert of("mean_best") == pytest.approx([best_of(values.mean(axis=1))], rel=1e-5)
            assert len(found[score, iterate, "mean_best", "replicates"].values) == 20
            assert (of("elbow_step") >= steps).all()


def test_curves_can_be_drawn_over_executed_steps_or_timesteps(toy_subject: Build) -> None:
    load_builtins()
    subject = walking(toy_subject(), t_start=9, stride=4)
    found = METRICS.get("denoising").factory(subject, Effort(), images=2, scores=("mse",), replicates=0)
    axes = {m.at["which"]: m.values for m in found if "score" not in m.at}

    assert axes == {"steps": (1.0, 2.0, 3.0), "timesteps": (8.0, 4.0, 0.0)}


def best_of_mean(values: Any, score: str) -> int:
    mean = values.mean(axis=1)
    return int(mean.argmax() if score == "ssim" else mean.argmin()) + 1


def test_a_trained_denoiser_peaks_late_in_the_iterate_and_early_in_the_prediction(
    toy_subject: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why a best step says nothing without saying of what: the same walk, two answers."""
    monkeypatch.setattr(module, "CHUNKS", {"small": 3, "large": 3, "cuda": 3})
    trained = MODELS.get("lucid-unet").factory()
    found = measured(replace(walking(toy_subject(), t_start=40), denoiser=trained), images=3)

    assert np.mean(found["ssim", "x_t", "best_step", "value"].values) > 28
    assert np.mean(found["ssim", "pred_x0", "best_step", "value"].values) < 20


def test_numbers_say_what_they_are_of(toy_subject: Build) -> None:
    found = measured(walking(toy_subject()))
    at = found["ssim", "x_t", "best", "value"].at

    assert {name: at[name] for name in at if name != "fingerprint"} == {
        "score": "ssim", "iterate": "x_t", "which": "best", "statistic": "value", "n": 6,
    }  # fmt: skip
    assert {m.nfe for m in found.values()} == {12}
    assert found["ssim", "x_t", "curve", "value"].at["image"] == 0
    assert len({m.at["fingerprint"] for m in found.values()}) == 2  # one for each score
    assert metric_spec("denoising").needs == {Need.TRAINED_WEIGHTS, Need.DATA, Need.SAMPLER}


def test_walks_and_models_may_be_compared_and_other_images_or_noise_may_not(toy_subject: Build) -> None:
    def fingerprint(subject: Subject, **params: Any) -> object:
        return measured(subject, **params)["ssim", "x_t", "best", "value"].at["fingerprint"]

    plain = fingerprint(walking(toy_subject()))
    assert fingerprint(walking(toy_subject(), Wiener(0.0), t_start=9, walk="ddim")) == plain
    assert fingerprint(walking(toy_subject()), images=5) != plain
    assert fingerprint(walking(toy_subject(seed=1))) != plain


def test_the_artifact_holds_every_curve(toy_subject: Build) -> None:
    subject = walking(toy_subject())
    found = measured(subject)
    (name,) = {m.artifact for m in found.values()}
    assert name is not None

    with np.load(subject.workspace.run_dir / name, allow_pickle=False) as data:
        assert data["curves"].shape == (12, 2, 2, 6)
        assert data["noisy"].shape == (2, 6)
        assert data["timesteps"].tolist() == list(range(11, -1, -1))
        assert (data["iterates"].tolist(), data["scores"].tolist()) == (["x_t", "pred_x0"], ["ssim", "mse"])
        ssim = data["curves"][:, 0, 0]
    np.testing.assert_allclose(ssim.max(axis=0), found["ssim", "x_t", "best", "value"].values, rtol=1e-6)


def test_more_images_continue_from_those_that_were_walked(toy_subject: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNKS", {"small": 4, "large": 4, "cuda": 4})
    network = Wiener()
    subject = walking(toy_subject(), network, t_start=3)

    first = curves_of(subject, 4, ("mse",))
    assert network.seen == 3 * 4
    more = curves_of(subject, 7, ("mse",))
    assert network.seen == 3 * 8  # the second chunk is walked whole, the first not again
    assert np.array_equal(more.values[..., :4], first.values)
    assert curves_of(subject, 8, ("mse",)).values.shape == (3, 2, 1, 8)
    assert network.seen == 3 * 8


def test_what_was_walked_is_only_found_for_the_same_walk(toy_subject: Build) -> None:
    network = Wiener()

    def calls(**changes: Any) -> int:
        before = network.seen
        scores = changes.pop("scores", ("mse",))
        curves_of(walking(toy_subject(seed=changes.pop("seed", 0)), network, **{"t_start": 2, **changes}), 2, scores)
        return network.seen - before

    assert calls() > 0
    assert calls() == 0
    for change in (
        {"walk": "ddim"},
        {"t_start": 3},
        {"stride": 2},
        {"clip_x0": False},
        {"seed": 1},
        {"scores": ("ssim",)},
    ):
        assert calls(**change) > 0, change
        assert calls(**change) == 0, change


def test_the_end_of_a_data_set_is_a_chunk_of_its_own(toy_subject: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNKS", {"small": 300, "large": 4, "cuda": 4})
    subject = walking(toy_subject(), t_start=1)

    assert curves_of(subject, 400, ("mse",)).values.shape == (1, 2, 1, 400)
    with pytest.raises(MeasurementError, match="has 400 images, 401 were asked for"):
        curves_of(subject, 401, ("mse",))


def test_a_restorer_makes_one_call_and_has_one_score(toy_subject: Build) -> None:
    calls: list[float] = []

    def half(noisy: Tensor, sigma: Tensor) -> Tensor:
        calls.append(float(sigma[0]))
        return (noisy + noisy.mean(dim=(2, 3), keepdim=True)) / 2

    base = walking(toy_subject(), t_start=400)
    restorer = as_denoiser(Restorer(half, SPEC, Weights("none")), (1, 16, 16))
    found = measured(replace(base, denoiser=restorer))

    assert len(calls) == 1
    alpha_bar = build_schedule(SPEC).alpha_bar(399)
    assert calls[0] == pytest.approx(math.sqrt((1 - alpha_bar) / alpha_bar) / 2)
    same = {
        found["ssim", iterate, which, "value"].values
        for iterate in ("x_t", "pred_x0")
        for which in ("best", "chosen", "judged", "first", "final")
    }
    assert len(same) == 1 and len(next(iter(same))) == 6
    assert {which for _, _, which, _ in found} == {"noisy", "best", "chosen", "judged", "first", "final"}
    assert {m.nfe for m in found.values()} == {1}
    assert found["ssim", "x_t", "noisy", "value"].values != next(iter(same))


def test_two_restorers_without_weights_are_not_taken_for_each_other(toy_subject: Build) -> None:
    base = walking(toy_subject())
    assert base.cell is not None
    values = []
    for name, restore in (("one", lambda n, s: n), ("two", lambda n, s: n * 0.5)):
        cell = base.cell.model_copy(update={"model": Ref(name="toy-denoiser", params={"weights": name})})
        cell = cell.model_copy(update={"model": Ref(name="noisy" if name == "one" else "wavelet")})
        restorer = as_denoiser(Restorer(restore, SPEC, Weights("none")), (1, 16, 16))
        values.append(curves_of(replace(base, denoiser=restorer, cell=cell), 2, ("mse",)).values)

    assert not np.array_equal(*values)


def test_scores_that_the_pictures_cannot_have_are_left_out_and_said(toy_subject: Build) -> None:
    subject = walking(toy_subject())
    found = measured(subject, scores=("ssim", "lpips[alex]"))

    assert {score for score, *_ in found} == {"ssim"}
    (warning,) = found["ssim", "x_t", "best", "value"].warnings
    assert warning.startswith("lpips[alex] is left out: lpips[alex] takes grey or colour pictures of at least 31x31")
    with pytest.raises(Unsupported, match=r"lpips\[alex\] is left out: .*; lpips\[squeeze\] is left out"):
        measured(subject, scores=("lpips[alex]", "lpips[squeeze]"))


def test_a_network_of_a_score_that_is_not_there_is_missing_before_anything_is_walked(
    toy_subject: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network = Wiener()
    load_builtins()
    entry = METRICS.get("denoising")
    subject = walking(toy_subject(), network)
    assert subject.cell is not None

    # Digits are enough for VGG.
    with pytest.raises(MissingWeights, match="run `bench fetch lpips-vgg`"):
        measured(subject, scores=("ssim", "lpips[vgg]"))
    assert network.seen == 0
    (sentence,) = entry.lacks({"scores": ("ssim", "lpips[vgg]")}, cell=subject.cell)
    assert "bench fetch lpips-vgg" in sentence
    assert entry.lacks({}, cell=subject.cell) == ()


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"images": 1}, "images must be at least 2, got 1"),
        ({"scores": ()}, "at least one, got none"),
        ({"scores": ("ssim", "ssim")}, "different names, at least one, got ssim, ssim"),
    ],
)
def test_impossible_wishes_are_refused(toy_subject: Build, params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParamError, match=sentence):
        measured(walking(toy_subject()), **params)


def test_training_images_are_said_to_be_that(toy_subject: Build) -> None:
    train = walking(toy_subject(data=Ref(name="digits", params={"split": "train"})), t_start=2)

    assert "these are training images" in measured(train)["ssim", "x_t", "best", "value"].warnings[0]


def test_a_walk_that_diverges_is_named_with_image_and_step(toy_subject: Build) -> None:
    class Breaks(nn.Module):
        def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
            out = torch.zeros_like(x_t)
            if int(t[0]) == 3:
                out[1] = torch.nan
            return out

    with pytest.raises(NonFiniteOutput, match="ssim of image 1 is not finite after step 3 of the walk from t = 5"):
        curves_of(walking(toy_subject(), Breaks(), t_start=6), 2, ("ssim",))


def test_a_cell_without_images_or_walk_says_what_to_add(toy_subject: Build) -> None:
    with pytest.raises(MeasurementError, match="give the cell `data:`"):
        curves_of(replace(walking(toy_subject()), data=None), 2, ("ssim",))
    with pytest.raises(MeasurementError, match=r"sampler: \{name: chain, t_start: 150\}"):
        curves_of(replace(walking(toy_subject()), sampler=None), 2, ("ssim",))
