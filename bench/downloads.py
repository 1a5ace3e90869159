"""What can be downloaded, and where everything that is not shipped lies on this machine. Free of torch.

Nothing here opens a connection: `bench.fetch` does, when a person asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.errors import UnknownName, did_you_mean

ROOT_VARIABLE = "BENCH_DATA"
DEFAULT_ROOT = "~/.cache/denoiser-bench/data"
WEIGHTS_FOLDER = "weights"
"""Under the data root: where checkpoints are looked for by their names."""


def data_root(root: str | None = None) -> Path:
    """The folder data sets and weights are looked for in: the argument, else $BENCH_DATA, else a cache in the home.

    The last is ~/.cache/denoiser-bench/data. An empty argument or variable counts as absent. The folder need not exist.
    """
    return Path(root or os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT).expanduser().absolute()


@dataclass(frozen=True)
class Remote:
    """One file of a download."""

    url: str
    path: str
    """Where it goes, relative to the data root."""
    hash: str
    """`algorithm:hex digest`, as its publisher gives it."""
    num_bytes: int | None = None
    """Its size, when known; a longer transfer is stopped."""


@dataclass(frozen=True)
class Download:
    """What `bench fetch` knows by one name."""

    what: str
    files: tuple[Remote, ...]

    @property
    def place(self) -> PurePosixPath:
        """The file, or the folder of several, relative to the data root."""
        paths = [PurePosixPath(file.path) for file in self.files]
        return paths[0] if len(paths) == 1 else paths[0].parent


MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
BACKBONES = "https://download.pytorch.org/models"

DOWNLOADS: Mapping[str, Download] = {
    "inception": Download(
        "the Inception network of the FID, as pytorch-fid converted it",
        (
            Remote(
                "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
                "weights/pt_inception-2015-12-05-6726825d.pth",
                "sha256:6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
                95_628_359,
            ),
        ),
    ),
    "ddpm-cifar10": Download(
        "Ho et al.'s CIFAR-10 network after 790,000 steps, moving average, as pesser converted it",
        (
            Remote(
                "https://heibox.uni-heidelberg.de/f/2e4f01e2d9ee49bab1d5/?dl=1",
                "weights/ddpm-cifar10/ema-model-790000.ckpt",
                "md5:1fa350b952534ae442b1d5235cce5cd3",
            ),
        ),
    ),
    "ddpm-cifar10-raw": Download(
        "the same network's raw weights, without the moving average",
        (
            Remote(
                "https://heibox.uni-heidelberg.de/f/869980b53bf5416c8a28/?dl=1",
                "weights/ddpm-cifar10/model-790000.ckpt",
                "md5:82ed3067fd1002f5cf4c339fb80c4669",
            ),
        ),
    ),
    "lpips-alex": Download(
        "AlexNet, the backbone of LPIPS as paper B uses it",
        (
            Remote(
                f"{BACKBONES}/alexnet-owt-7be5be79.pth",
                "weights/alexnet-owt-7be5be79.pth",
                "sha256:7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
                244_408_911,
            ),
        ),
    ),
    "lpips-vgg": Download(
        "VGG-16, another backbone of LPIPS",
        (
            Remote(
                f"{BACKBONES}/vgg16-397923af.pth",
                "weights/vgg16-397923af.pth",
                "sha256:397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
                553_433_881,
            ),
        ),
    ),
    "lpips-squeeze": Download(
        "SqueezeNet 1.1, the smallest backbone of LPIPS",
        (
            Remote(
                f"{BACKBONES}/squeezenet1_1-b8a52dc0.pth",
                "weights/squeezenet1_1-b8a52dc0.pth",
                "sha256:b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
                4_958_839,
            ),
        ),
    ),
    "mnist": Download(
        "MNIST, 60,000 images to train and 10,000 to test",
        tuple(
            Remote(f"{MNIST}/{name}", f"mnist/{name}", f"md5:{digest}")
            for name, digest in (
                ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
                ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
                ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
                ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
            )
        ),
    ),
    "cifar10": Download(
        "CIFAR-10, binary version, 50,000 images to train and 10,000 to test",
        (
            Remote(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "cifar10/cifar-10-binary.tar.gz",
                "md5:c32a1d4ab5d03f1284b67883e8d87530",
                170_052_171,
            ),
        ),
    ),
}
"""Every address this program may download from."""


def find_download(name: str, downloads: Mapping[str, Download] = DOWNLOADS) -> Download:
    """What is known by the name. Raises UnknownName with close matches and the whole list."""
    try:
        return downloads[name]
    except KeyError:
        raise UnknownName(
            f"nothing to fetch is called {name!r}{did_you_mean(name, downloads)} (known: {', '.join(downloads)})"
        ) from None


def fetched_path(name: str, root: Path) -> Path:
    """Where a download lies under the data root, whether it is there or not: the file, or the folder of several."""
    return root / find_download(name).place


def by_hand(name: str, root: Path) -> str:
    """How to get a download, in a few words: the command, or what to put where."""
    download = find_download(name)
    files = ", ".join(PurePosixPath(file.path).name for file in download.files)
    return f"run `bench fetch {name}`, or put {files} into {(root / download.files[0].path).parent}"
