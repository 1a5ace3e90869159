"""bench: how fast and how good diffusion denoisers are, and how sure that is.

These are the names a plug-in needs; importing them does not import torch. bench/README.md has the map of the rest.
"""

from bench.contracts import (
    Dataset,
    Denoiser,
    Measurement,
    MetricSpec,
    Need,
    Prediction,
    Restorer,
    Sampler,
    ScheduleSpec,
    Weights,
)
from bench.registry import register_dataset, register_metric, register_model, register_sampler
from bench.version import __version__

__all__ = [
    "Dataset",
    "Denoiser",
    "Measurement",
    "MetricSpec",
    "Need",
    "Prediction",
    "Restorer",
    "Sampler",
    "ScheduleSpec",
    "Weights",
    "__version__",
    "register_dataset",
    "register_metric",
    "register_model",
    "register_sampler",
]
