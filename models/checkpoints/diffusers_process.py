"""diffusers' scheduler_config.json: which noise a network was trained with and what it predicts, read whole.

Three kinds of keys stand in it, and each has its table here:

- those that say how noise was added in training, and what the answer means: PROCESS. They are read, or refused where
  nothing here has such a process;
- those that say how diffusers would step back through that process: WALK. They are the suite's business, which names
  a sampler of its own; where that one has a counterpart and the value is another, COUNTERPARTS makes a note of it;
- switches to another process, or to steps that no sampler here can take: OFF. They must be off.

A key in none of them was added later or by somebody else, so it must be off too (null or false), and a class that is
not in CLASSES is refused: its numbers would be used as something they are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.contracts import Prediction, ScheduleSpec
from bench.errors import quoted
from bench.models.checkpoints.json_file import read_json
from bench.models.checkpoints.source import refusal

MAX_TIMESTEPS = 100_000

HO = (1e-4, 0.02)
"""Ho et al.'s betas, first and last."""
LATENT = (0.00085, 0.012)
"""Those of latent diffusion, which a few classes take where the file is silent."""
CLASSES: Mapping[str, tuple[float, float]] = {
    "DDPMScheduler": HO,
    "DDPMParallelScheduler": HO,
    "DDIMScheduler": HO,
    "DDIMParallelScheduler": HO,
    "DDIMInverseScheduler": HO,
    "PNDMScheduler": HO,
    "RePaintScheduler": HO,
    "DEISMultistepScheduler": HO,
    "DPMSolverMultistepScheduler": HO,
    "DPMSolverMultistepInverseScheduler": HO,
    "DPMSolverSinglestepScheduler": HO,
    "UniPCMultistepScheduler": HO,
    "SASolverScheduler": HO,
    "EulerDiscreteScheduler": HO,
    "EulerAncestralDiscreteScheduler": HO,
    "LMSDiscreteScheduler": HO,
    "HeunDiscreteScheduler": LATENT,
    "KDPM2DiscreteScheduler": LATENT,
    "KDPM2AncestralDiscreteScheduler": LATENT,
}
"""Walks through x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps with one beta for each timestep; their default betas."""
UNSAID = "DDPMScheduler"
"""Taken where the file names no class."""

BETA_SCHEDULES: Mapping[str, Literal["linear", "scaled_linear", "cosine"]] = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "squaredcos_cap_v2": "cosine",
}
"""diffusers' `sigmoid` is another curve than the one of that name here."""
PREDICTIONS = {"epsilon": Prediction.EPSILON, "sample": Prediction.X0, "v_prediction": Prediction.V}
PROCESS = frozenset(
    {
        "num_train_timesteps",
        "beta_start",
        "beta_end",
        "beta_schedule",
        "prediction_type",
        "rescale_betas_zero_snr",
    }
)
OFF: Mapping[str, tuple[object, ...]] = {
    "trained_betas": (None,),
    "predict_epsilon": (None, True),
    "variance_type": (None, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"),
    "thresholding": (None, False),
    "use_karras_sigmas": (None, False),
    "use_exponential_sigmas": (None, False),
    "use_beta_sigmas": (None, False),
    "use_lu_lambdas": (None, False),
    "use_flow_sigmas": (None, False),
    "use_dynamic_shifting": (None, False),
    "sigma_min": (None,),
    "sigma_max": (None,),
    "sigmas": (None,),
    "timestep_values": (None,),
    "timestep_type": (None, "discrete"),
    "shift": (None, 1.0),
    "flow_shift": (None, 1.0),
    "shift_terminal": (None,),
    "snr_shift_scale": (None, 1.0),
}
"""A learned variance doubles the network's output; dynamic thresholds change every step's image; the sigmas lie between
the trained timesteps, where the network would be asked at fractions; a shift changes which noise a timestep means."""
WALK = frozenset(
    {
        "clip_sample",
        "clip_sample_range",
        "timestep_spacing",
        "steps_offset",
        "set_alpha_to_one",
        "dynamic_thresholding_ratio",
        "sample_max_value",
        "time_shift_type",
        "skip_prk_steps",
        "solver_order",
        "predictor_order",
        "corrector_order",
        "solver_type",
        "solver_p",
        "algorithm_type",
        "lower_order_final",
        "euler_at_final",
        "final_sigmas_type",
        "lambda_min_clipped",
        "interpolation_type",
        "predict_x0",
        "disable_corrector",
        "tau_func",
        "eta",
        "tensor_format",
    }
)
COUNTERPARTS: Mapping[str, tuple[tuple[object, ...], str]] = {
    "clip_sample": ((True,), "clip_x0"),
    "clip_sample_range": ((1.0,), "clip_x0"),
    "timestep_spacing": (("leading",), "spacing"),
    "steps_offset": ((0,), "spacing"),
    "variance_type": (("fixed_small", "fixed_large"), "variance"),
}
"""What is not worth a note, and the sampler's argument that decides instead."""


@dataclass(frozen=True)
class Process:
    """What a scheduler says about a network."""

    schedule: ScheduleSpec
    prediction: Prediction
    note: str = ""
    """What a reader of the numbers should know."""


def read_process(scheduler: Path | None, pipeline: Path | None = None) -> Process:
    """The process of a scheduler_config.json; Ho et al.'s, with a note, where there is none.

    pipeline: the model_index.json around it, whose class is the one that diffusers builds. Raises BadCheckpoint naming
    the key or the class that is not known here.
    """
    named = None if pipeline is None else _named_class(pipeline)
    if scheduler is None:
        if named is not None:
            assert pipeline is not None  # it named the class
            raise refusal(pipeline, f"names the scheduler {quoted(named)}, which is not there; copy the whole folder")
        return Process(
            ScheduleSpec(), Prediction.EPSILON, "no scheduler beside it: taken for linear betas and predicted noise"
        )
    config = read_json(scheduler)
    kind = config.get("_class_name", named if named is not None else UNSAID)
    if named is not None and kind != named:
        raise refusal(scheduler, f"is of the class {quoted(kind)}, and its model_index.json names {quoted(named)}")
    if not isinstance(kind, str) or kind not in CLASSES:
        raise refusal(
            scheduler,
            f"is of the class {quoted(kind)}, whose process is not known here; known are {', '.join(sorted(CLASSES))}",
        )
    if sentence := next(_not_understood(config), None):
        raise refusal(scheduler, sentence)
    prediction = _prediction(scheduler, config)
    return Process(_schedule(scheduler, config, CLASSES[kind], prediction), prediction, _note(config))


def _named_class(pipeline: Path) -> object:
    """The scheduler's class in a model_index.json, None when it has none."""
    match read_json(pipeline).get("scheduler"):
        case None | [None, None]:
            return None
        case [str(), str(name)]:
            return name
        case other:
            raise refusal(pipeline, f"scheduler is {quoted(other)}, expected a library and a class")


def _not_understood(config: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each key whose value asks for something that is not known here."""
    for key, value in config.items():
        if key in OFF and not _is_any(value, OFF[key]):
            expected = " or ".join(repr(good) for good in OFF[key] if good is not None) or "null"
            yield f"{key} is {quoted(value)}, expected {expected}: a process or a walk that is not known here"
        elif key not in OFF and key not in PROCESS and key not in WALK and not _is_meta(key, value):
            yield f"has the key {quoted(key)} with the value {quoted(value)}, which is not known here; see its class"


def _is_meta(key: str, value: object) -> bool:
    """Whether a key says nothing of the process: diffusers' own notes, or a switch that is off."""
    return key.startswith("_") or value is None or value is False


def _is_any(value: object, accepted: tuple[object, ...]) -> bool:
    """Whether a JSON value is one of these; true is not 1."""
    return any(isinstance(value, bool) == isinstance(good, bool) and value == good for good in accepted)


def _prediction(scheduler: Path, config: Mapping[str, Any]) -> Prediction:
    word = config.get("prediction_type", "epsilon")
    if not isinstance(word, str) or word not in PREDICTIONS:
        raise refusal(scheduler, f"prediction_type is {quoted(word)}, expected {' or '.join(map(repr, PREDICTIONS))}")
    return PREDICTIONS[word]


def _schedule(
    scheduler: Path, config: Mapping[str, Any], betas: tuple[float, float], prediction: Prediction
) -> ScheduleSpec:
    word, steps = config.get("beta_schedule", "linear"), config.get("num_train_timesteps", 1000)
    if not isinstance(word, str) or word not in BETA_SCHEDULES:
        raise refusal(scheduler, f"beta_schedule is {quoted(word)}, expected {' or '.join(map(repr, BETA_SCHEDULES))}")
    if type(steps) is not int or not 1 <= steps <= MAX_TIMESTEPS:
        raise refusal(scheduler, f"num_train_timesteps is {quoted(steps)}, expected 1 to {MAX_TIMESTEPS:,}")
    zero = config.get("rescale_betas_zero_snr", False)
    if zero is not None and type(zero) is not bool:
        raise refusal(scheduler, f"rescale_betas_zero_snr is {quoted(zero)}, expected true or false")
    if zero and prediction is Prediction.EPSILON:
        raise refusal(
            scheduler,
            "rescale_betas_zero_snr with a network that predicts the noise: nothing of the image is left at the last "
            "timestep, where the noise says nothing about it",
        )
    if zero and steps < 2:
        raise refusal(scheduler, "rescale_betas_zero_snr needs at least 2 timesteps")
    kind = BETA_SCHEDULES[word]
    if kind == "cosine":
        return ScheduleSpec("cosine", steps, zero_terminal_snr=bool(zero))
    first, last = config.get("beta_start", betas[0]), config.get("beta_end", betas[1])
    if not all(type(beta) in (int, float) for beta in (first, last)) or not 0 < first <= last < 1:
        raise refusal(
            scheduler,
            f"beta_start {quoted(first)} and beta_end {quoted(last)}: expected 0 < beta_start <= beta_end < 1",
        )
    return ScheduleSpec(kind, steps, float(first), float(last), bool(zero))


def _note(config: Mapping[str, Any]) -> str:
    """What the scheduler would do otherwise than the harness's samplers do by themselves."""
    others = [
        f"{key} {quoted(config[key], 40)}"
        for key, (usual, _) in COUNTERPARTS.items()
        if config.get(key) is not None and not _is_any(config[key], usual)
    ]
    arguments = sorted({COUNTERPARTS[text.split()[0]][1] for text in others})
    return f"its scheduler has {', '.join(others)}; here the sampler's {', '.join(arguments)} decides" if others else ""
