"""A small classifier of 16x16 digits whose last hidden layer stands in for Inception where nothing can be downloaded.

Distances in its features are called `frechet[digits-cnn]`, never FID: they rank models of digits and mean nothing
beside a published number. The weights are shipped, made by `bench train digits-cnn` on the training digits, and pinned
by their SHA-256: features of a random network rank models at random, so nothing else is loaded.

Shape legend: B images of one channel, 16 x 16 pixels, in [0, 1]; 64 features.
"""

from __future__ import annotations

import importlib.util
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from bench.contracts import Dataset
from bench.errors import BadCheckpoint, MeasurementError, MissingWeights, ParamError
from bench.files import file_hash, write_whole
from bench.passport import PASSPORT_SCHEMA, Passport, is_finished, keys_fingerprint, write_passport
from bench.quality.classifier_recipe import ClassifierRecipe
from bench.registry import DATASETS, check_params
from bench.suite.schema import Ref
from bench.version import __version__

NAME = "digits-cnn"
SHA256 = "ff08731ac35bf91db28c4bf5313e61fbb50daa7c389914a5496e8600b479aa0d"
"""Of the shipped weights."""
IMAGE_SIZE = 16
FEATURES = 64
CLASSES = 10
MIN_ACCURACY = 0.98
"""On held-out digits. A network below it has not learnt what a digit is, and its features are refused."""


class DigitsCnn(nn.Module):
    """Four convolutions and two linear layers; 92 k parameters. SiLU, so that no feature is ever dead."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 24, 3, padding=1)
        self.conv2 = nn.Conv2d(24, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, 48, 3, padding=1)
        self.conv4 = nn.Conv2d(48, 48, 3, padding=1)
        self.hidden = nn.Linear(48 * 4 * 4, FEATURES)
        self.classes = nn.Linear(FEATURES, CLASSES)

    def layers(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[B, 1, 16, 16] in [-1, 1] -> what each convolution gives: two maps of 16x16, two of 8x8."""
        first = functional.silu(self.conv1(x))
        second = functional.silu(self.conv2(first))
        third = functional.silu(self.conv3(functional.avg_pool2d(second, 2)))
        fourth = functional.silu(self.conv4(third))
        return first, second, third, fourth

    def features(self, x: Tensor) -> Tensor:
        """[B, 1, 16, 16] in [-1, 1] -> [B, 64]."""
        x = functional.avg_pool2d(self.layers(x)[-1], 2)
        return functional.silu(self.hidden(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1, 16, 16] in [-1, 1] -> class scores [B, 10]."""
        scores: Tensor = self.classes(self.features(x))
        return scores


@dataclass(frozen=True, eq=False)
class TrainedCnn:
    """A trained classifier and how it came to be."""

    network: DigitsCnn
    accuracy: float
    """On the held-out images."""
    curve: tuple[tuple[float, ...], ...]
    """(epoch, mean loss) pairs."""
    steps: int
    seconds: float


@dataclass(frozen=True)
class Epoch:
    """What a training reports: steps done of all steps, the epoch's mean loss, seconds so far."""

    step: int
    steps: int
    loss: float
    seconds: float


def _silent(done: Epoch) -> None:
    """Report nothing."""


def train_digits_cnn(
    images: Tensor,
    labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    how: ClassifierRecipe,
    on_epoch: Callable[[Epoch], None] = _silent,
) -> TrainedCnn:
    """Train on digits [N, 1, 16, 16] in [-1, 1] with labels 0..9; the shipped one takes about a minute on one core.

    The same recipe gives the same weights on one machine with one thread. Raises MeasurementError when the held-out
    accuracy stays below 98 %: such features must not judge anything.
    """
    begin = time.perf_counter()
    draw = torch.Generator().manual_seed(how.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        network = DigitsCnn()
    epochs, batch = how.train.epochs, how.train.batch_size
    steps = epochs * -(-len(images) // batch)
    optimizer = torch.optim.Adam(network.parameters(), lr=how.optimizer.lr, weight_decay=how.optimizer.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    curve: list[tuple[float, ...]] = []
    for epoch in range(1, epochs + 1):
        total = 0.0
        order = torch.randperm(len(images), generator=draw)
        for low in range(0, len(order), batch):
            chosen = order[low : low + batch]
            moved = _shifted(images[chosen], how.train.shift, draw)
            loss = functional.cross_entropy(network(moved), labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        curve.append((epoch, total / len(images)))
        on_epoch(Epoch(steps // epochs * epoch, steps, total / len(images), time.perf_counter() - begin))
    network.eval().requires_grad_(False)
    reached = accuracy(network, test_images, test_labels)
    if not reached >= MIN_ACCURACY:
        raise MeasurementError(
            f"{NAME}: {reached:.1%} of the held-out digits after {epochs} epochs, below {MIN_ACCURACY:.0%}; "
            "features of such a network must not judge pictures"
        )
    return TrainedCnn(network, reached, tuple(curve), steps, time.perf_counter() - begin)


def accuracy(network: DigitsCnn, images: Tensor, labels: Tensor) -> float:
    """Part of the images [N, 1, 16, 16] in [-1, 1] whose label the network finds."""
    with torch.inference_mode():
        return float((network(images).argmax(dim=1) == labels).double().mean())


def make_digits_cnn(
    how: ClassifierRecipe, recipe_name: str, weights: Path, on_epoch: Callable[[Epoch], None] = _silent
) -> Path:
    """Train, check on the held-out images, and write the weights with their passport; returns the weights file.

    A finished training is not repeated: when the passport beside the file carries this recipe's fingerprint, nothing is
    done. Raises ParamError for images that are no labelled digits, BadCheckpoint for a passport that is damaged, and
    SaveError when something cannot be written.
    """
    if is_finished(weights, how.fingerprint):
        return weights
    train, (images, labels) = _labelled(how.data)
    trained = train_digits_cnn(images, labels, *_labelled(how.held_out)[1], how, on_epoch)
    return write_digits_cnn(trained, weights, train, how, recipe_name)


def _labelled(ref: Ref) -> tuple[Dataset, tuple[Tensor, Tensor]]:
    """A data set, and all its images [N, 1, 16, 16] with their labels [N]."""
    entry = DATASETS.get(ref.name)
    data = entry.factory(**check_params(entry, ref.params))
    labels = getattr(data, "labels", None)
    if labels is None or tuple(data.image_shape) != (1, IMAGE_SIZE, IMAGE_SIZE):
        raise ParamError(f"{NAME} is trained on labelled 1x16x16 digits, which {ref.name!r} does not have")
    return data, (data[0 : len(data)], torch.from_numpy(labels))


def write_digits_cnn(
    trained: TrainedCnn, weights: Path, data: Dataset, how: ClassifierRecipe, recipe_name: str
) -> Path:
    """Write the weights, then their passport; returns the weights file. data: what it was trained on.

    Raises SaveError.
    """
    state = {name: tensor.contiguous() for name, tensor in trained.network.state_dict().items()}
    content = save(state)
    write_whole(weights, content)
    write_passport(
        Passport(
            schema=PASSPORT_SCHEMA,
            name=how.recipe,
            sha256=sha256(content).hexdigest(),
            format="native",
            keys_sha256=keys_fingerprint((name, tuple(tensor.shape)) for name, tensor in state.items()),
            model=NAME,
            params={},
            prediction="class scores; features are the last hidden layer",
            ema=False,
            steps=trained.steps,
            dtype="float32",
            origin="trained",
            recipe=recipe_name,
            recipe_sha256=how.fingerprint,
            data=data.fingerprint,
            data_split=data.split,
            seed=how.seed,
            made_with={"python": platform.python_version(), "torch": torch.__version__, "bench": __version__},
            seconds=round(trained.seconds, 1),
            curve=tuple((epoch, float(f"{loss:.6g}")) for epoch, loss in trained.curve),
            facts={
                "accuracy": trained.accuracy,
                "held_out": f"{how.held_out.name}/{how.held_out.params.get('split', '')}".rstrip("/"),
                "epochs": how.train.epochs,
            },
        ),
        weights,
    )
    return weights


def shipped_weights() -> Path:
    """Where the weights lie in a clone or an installation."""
    spec = importlib.util.find_spec("bench.models")
    if spec is None or not spec.submodule_search_locations:
        raise MissingWeights(f"{NAME}: the package `models`, which carries its weights, is not installed")
    return Path(spec.submodule_search_locations[0]) / "weights" / f"{NAME}.safetensors"


def load_digits_cnn(weights: Path | None = None, sha256: str = SHA256) -> DigitsCnn:
    """The shipped classifier. Raises MissingWeights, or BadCheckpoint for any file that is not exactly that one."""
    path = shipped_weights() if weights is None else weights
    if not path.is_file():
        raise MissingWeights(f"{NAME}: needs {path}, which is not there; reinstall the project")
    found = file_hash(path)
    if found != sha256:
        raise BadCheckpoint(
            f"{path}: its SHA-256 begins {found[:12]}, the trained {NAME} begins {sha256[:12]}; features of other "
            "weights, random ones above all, would rank models by chance; reinstall the project"
        )
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadCheckpoint(f"{path}: not a readable safetensors file ({error})") from error
    network = DigitsCnn()
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _shifted(images: Tensor, reach: int, draw: torch.Generator) -> Tensor:
    """Every image moved by up to `reach` pixels in both directions, the border repeated; [B, 1, H, W]."""
    size = images.shape[-1]
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    down, right = torch.randint(0, 2 * reach + 1, (2, len(images), 1), generator=draw)
    rows, columns = torch.arange(size) + down, torch.arange(size) + right
    return padded[torch.arange(len(images))[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )
