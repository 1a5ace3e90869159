"""From images in [0, 1] to features: the networks by name, their weights checked, their batches fixed.

Shape legend: B images, C channels, H x W pixels, d features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench.errors import MeasurementError, NonFiniteOutput, Unsupported
from bench.quality import digits_cnn, inception, recipe
from bench.quality.frechet import frechet_of_features
from bench.quality.preprocess import check_unit, prepare
from bench.quality.recipe import Dtype, FeatureRecipe

DTYPES: dict[Dtype, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, eq=False)
class Extractor:
    """A feature network on its device, and the hash of its weights."""

    name: recipe.Extractor
    sha256: str
    features: int
    """d"""
    dtype: Dtype
    device: torch.device
    network: Callable[[Tensor], Tensor]
    """Prepared images -> features [B, d] float32."""


def load_extractor(
    name: recipe.Extractor,
    *,
    dtype: Dtype = "float32",
    device: str = "cpu",
    compile: bool = False,
    weights: Path | None = None,
    sha256: str | None = None,
) -> Extractor:
    """A feature network with trained weights; there is no way to get one with random weights.

    weights, sha256: another file, which must have exactly that hash. compile: through torch.compile, which takes half
    a minute and pays after some thousand images. Raises MissingWeights, BadCheckpoint, and Unsupported where a reduced
    precision would not be faster here, or a network has none.
    """
    target = torch.device(device)
    if dtype != "float32" and not reduced_precision_pays(dtype, target):
        raise Unsupported(
            f"{dtype} features: this {'processor' if target.type == 'cpu' else 'device'} has no units for {dtype} and "
            "would emulate it, slower than float32 and less exact; leave dtype at float32"
        )
    if name == "digits-cnn":
        if dtype != "float32":
            raise Unsupported(f"digits-cnn is computed in float32 only, not in {dtype}: it takes no time")
        classifier = digits_cnn.load_digits_cnn(weights, sha256 or digits_cnn.SHA256).to(target)
        return Extractor(name, sha256 or digits_cnn.SHA256, digits_cnn.FEATURES, dtype, target, classifier.features)
    network = inception.load_inception(weights, sha256=sha256 or inception.SHA256)
    placed = network.to(target, DTYPES[dtype])
    called: Callable[[Tensor], Tensor] = torch.compile(placed, options={"freezing": True}) if compile else placed
    return Extractor(name, sha256 or inception.SHA256, inception.FEATURES, dtype, target, called)


def extract(extractor: Extractor, how: FeatureRecipe, images: Tensor) -> Tensor:
    """Features [B, d] float32 on the CPU of images [B, C, H, W] in [0, 1], in the recipe's batches.

    The last batch is as small as it must be; none is dropped. Raises MeasurementError for images that the recipe or the
    network cannot take, NonFiniteOutput where a feature is not finite.
    """
    check_extractor(extractor, how)
    if not len(images):
        return torch.empty(0, extractor.features)
    check_unit(images)
    check_shape(extractor.name, tuple(images.shape[1:]))
    lows = range(0, len(images), how.batch)
    return features_of(extractor, (prepare(images[low : low + how.batch].to(extractor.device), how) for low in lows))


def features_of(extractor: Extractor, batches: Iterable[Tensor]) -> Tensor:
    """Features [B, d] float32 on the CPU of prepared images, batch by batch. Raises NonFiniteOutput."""
    with torch.inference_mode():
        features = torch.cat(
            [extractor.network(batch.to(extractor.device)).to("cpu", torch.float32) for batch in batches]
        )
    if not bool(torch.isfinite(features).all()):
        bad = (~torch.isfinite(features).all(dim=1)).nonzero()
        raise NonFiniteOutput(f"{extractor.name} in {extractor.dtype}: features of image {int(bad[0])} are not finite")
    return features


def check_extractor(extractor: Extractor, how: FeatureRecipe) -> None:
    """Raise MeasurementError unless the recipe names this network."""
    if (how.extractor, how.extractor_sha256, how.dtype) != (extractor.name, extractor.sha256, extractor.dtype):
        raise MeasurementError(
            f"the recipe wants {how.extractor} {how.extractor_sha256[:12]} in {how.dtype}, the network at hand is "
            f"{extractor.name} {extractor.sha256[:12]} in {extractor.dtype}"
        )


def check_shape(name: recipe.Extractor, shape: tuple[int, ...]) -> None:
    """Raise MeasurementError for images of a shape (C, H, W) that a network cannot judge."""
    if name == "digits-cnn":
        side = digits_cnn.IMAGE_SIZE
        if shape != (1, side, side):
            found = "x".join(map(str, shape))
            raise MeasurementError(
                f"digits-cnn judges 1x{side}x{side} digits only, and the images are {found}; use features: inception "
                "(--features inception)"
            )
    elif shape[0] not in (1, 3):
        raise MeasurementError(
            f"{name} judges grey and RGB images; images of {shape[0]} channels are neither grey nor colour"
        )


def reduced_precision_pays(dtype: Dtype, device: torch.device) -> bool:
    """Whether the device multiplies in this precision faster than in float32; emulation is several times slower."""
    if device.type == "cuda":
        return dtype == "float16" or torch.cuda.is_bf16_supported(including_emulation=False)
    flags = _cpu_flags()
    return bool(flags & ({"amx_bf16", "avx512_bf16"} if dtype == "bfloat16" else {"amx_fp16", "avx512_fp16"}))


def _cpu_flags() -> set[str]:
    """What the processor says it can do; empty where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), set())


@dataclass(frozen=True)
class PrecisionError:
    """What a reduced precision was measured to change, on real images."""

    dtype: Dtype
    images: int
    """On each of the two sides."""
    feature_error: float
    """Largest difference of a feature, as part of the largest feature."""
    exact: float
    """Fréchet distance between the two sides from float32 features."""
    reduced: float

    @property
    def sentence(self) -> str:
        change = abs(self.reduced - self.exact) / self.exact if self.exact else float("inf")
        return (
            f"features in {self.dtype}: on {self.images} against {self.images} images the distance came out as "
            f"{self.reduced:.6g} where float32 gives {self.exact:.6g} ({change:.2%} off); largest feature error "
            f"{self.feature_error:.1e} of the largest feature"
        )


def precision_error(
    exact: Extractor, reduced: Extractor, how: FeatureRecipe, first: Tensor, second: Tensor
) -> PrecisionError:
    """Both networks on the same two sets of images [B, C, H, W] in [0, 1]. how: the recipe of the exact network."""
    other = FeatureRecipe(**{**vars(how), "dtype": reduced.dtype})
    wanted = [extract(exact, how, images) for images in (first, second)]
    found = [extract(reduced, other, images) for images in (first, second)]
    largest = max(float(each.abs().max()) for each in wanted)
    error = max(float((a - b).abs().max()) for a, b in zip(wanted, found, strict=True))
    return PrecisionError(
        dtype=reduced.dtype,
        images=min(len(first), len(second)),
        feature_error=error / largest,
        exact=frechet_of_features(*wanted).value,
        reduced=frechet_of_features(*found).value,
    )
