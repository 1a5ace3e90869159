"""What the field calls things that have another name here: a sentence that points from the one to the other.

A name is no alias: what a suite writes is what its tables, its records and everybody's command lines say.
"""

from __future__ import annotations

from collections.abc import Mapping

_FID = "{name: frechet, features: inception}, whose number is called FID"
_MACS = "macs, which counts multiply-accumulates (1 MAC is 2 FLOPs)"
_SCORES = "{name: denoising, scores: [%s]}"
_WALK_TIME = "latency, the seconds of a whole walk, or step_time, those of one network call"

_METRICS: Mapping[str, str] = {
    **dict.fromkeys(("fid", "fid50k", "fid-50k", "fid10k", "cleanfid", "clean-fid", "frechet-inception-distance"),
                    _FID),
    **dict.fromkeys(("frechet-distance", "fd", "fd-dinov2"), "frechet"),
    **dict.fromkeys(("fid-infinity", "fid-inf"), "{name: frechet_infinity, features: inception}"),
    **dict.fromkeys(("kernel-inception-distance", "mmd"), "{name: kid, features: inception}"),
    **dict.fromkeys(("flops", "flop", "gflops", "mflops", "tflops", "mac", "gmacs", "mmacs", "madds"), _MACS),
    **dict.fromkeys(
        ("params", "param", "num-params", "n-params", "num-parameters", "param-count", "parameter-count", "mparams"),
        "parameters",
    ),
    **dict.fromkeys(("model-size", "size", "size-mb", "weights-size", "bytes", "disk"), "weight_bytes"),
    **dict.fromkeys(
        ("latency-ms", "latency-s", "time", "time-ms", "runtime", "wall-time", "walltime", "duration", "speed",
         "sampling-time", "inference-time", "seconds", "ms-per-image", "forward-time"),
        _WALK_TIME,
    ),
    **dict.fromkeys(
        ("throughput", "fps", "images-per-second", "img-per-s", "imgs-per-sec", "it-s", "samples-per-second"),
        "latency with a larger conditions.batch_size: images a second are the batch over its seconds",
    ),
    **dict.fromkeys(
        ("memory", "mem", "ram", "vram", "rss", "gpu-memory", "cuda-memory", "peak-mem", "max-memory", "memory-mb",
         "peak-vram", "peak-memory-mb"),
        "peak_memory",
    ),
    **dict.fromkeys(("function-evaluations", "num-function-evaluations", "network-calls", "steps", "num-steps"), "nfe"),
    **dict.fromkeys(("cold-start-time", "startup", "warmup-time"), "cold_start"),
    **dict.fromkeys(("precision", "recall", "density", "coverage", "prdc"), "precision_recall"),
    **dict.fromkeys(("loss", "train-loss", "mse-loss"), "training_loss"),
    **dict.fromkeys(("sample", "images", "grid", "sample-grid"), "samples"),
    **{score: _SCORES % score for score in ("ssim", "psnr", "mse", "gmsd")},
    **{f"lpips{tail}": _SCORES % '"lpips[alex]"' for tail in ("", "-alex", "-vgg", "[alex]", "[vgg]", "[squeeze]")},
}  # fmt: skip
"""Plain word (small letters, `-` for `_`) -> what to write here."""
_NOT_HERE: Mapping[str, str] = {
    **dict.fromkeys(("is", "inception-score"), "the Inception score is not measured here; frechet is the usual one"),
    **dict.fromkeys(("sfid", "cmmd", "clip-score", "clipscore"), "it is not measured here; see frechet and kid"),
    **dict.fromkeys(("energy", "power", "joules", "watts"), "energy is not measured here; see latency"),
}
_SAMPLERS: Mapping[str, str] = {
    **dict.fromkeys(("ancestral", "ddpm-ancestral"), "ddpm"),
    **dict.fromkeys(("ddim-eta-0", "deterministic"), "ddim"),
    **dict.fromkeys(("denoise", "denoising", "full", "reverse"), "chain"),
}
_DATASETS: Mapping[str, str] = {
    **dict.fromkeys(("cifar", "cifar-10"), "cifar10"),
    **dict.fromkeys(("celeba", "celebahq", "celeba-hq", "lsun", "imagenet", "ffhq", "images", "image-folder"),
                    "{name: folder, path: ..., image_size: ...} with the images in a folder or an archive"),
}  # fmt: skip
_MODELS: Mapping[str, str] = {
    **dict.fromkeys(("unet", "ddpm", "unet2d", "unet2dmodel", "ho2020"), "ddpm-unet"),
    **dict.fromkeys(("skipunet", "skip"), "skip-unet"),
    **dict.fromkeys(("continuous-unet", "missing-u", "c-unet"), "cunet, or cunet-released as its public code has it"),
    **dict.fromkeys(("autoencoder", "cae"), "conv-autoencoder"),
}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "metric": _METRICS, "sampler": _SAMPLERS, "data set": _DATASETS, "model": _MODELS
}  # fmt: skip


def other_words(kind: str, name: str) -> str:
    """`; write frechet ...`, where the field's word for something has another name here; or nothing.

    kind: metric, sampler, data set or model, as the registry calls them.
    """
    plain = name.casefold().replace("_", "-").replace("/", "-per-")
    if kind == "metric" and plain in _NOT_HERE:
        return f"; {_NOT_HERE[plain]}"
    here = _WORDS.get(kind, {}).get(plain)
    return f"; write {here}" if here else ""
