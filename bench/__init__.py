"""bench: how fast and how good diffusion denoisers are, and how sure that is.

These are the names a plug-in needs, and `run`, `load` and `compare` for notebooks; importing them does not import
torch. bench/README.md has the map of the rest.
"""

from typing import TYPE_CHECKING, Any

from bench.contracts import (
    Dataset,
    Denoiser,
    Measurement,
    MetricSpec,
    Need,
    Prediction,
    Range,
    Restorer,
    Sampler,
    ScheduleSpec,
    Weights,
)
from bench.registry import register_dataset, register_metric, register_model, register_sampler
from bench.version import __version__

if TYPE_CHECKING:
    from bench.api import compare, load
    from bench.models import load_checkpoint

__all__ = [
    "Dataset",
    "Denoiser",
    "Measurement",
    "MetricSpec",
    "Need",
    "Prediction",
    "Range",
    "Restorer",
    "Sampler",
    "ScheduleSpec",
    "Weights",
    "__version__",
    "compare",
    "load",
    "load_checkpoint",
    "register_dataset",
    "register_metric",
    "register_model",
    "register_sampler",
]


def __getattr__(name: str) -> Any:
    """What a plug-in does not need, when it is first asked for, so that a plug-in's import stays light."""
    from importlib import import_module

    if name == "load_checkpoint":
        return getattr(import_module("bench.models"), name)
    if name in ("compare", "load"):
        return getattr(import_module("bench.api"), name)
    if name == "run":
        return import_module("bench.run")  # the room, which can be called
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
