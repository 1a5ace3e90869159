"""Hundreds of files that a stranger may send, made from a seed: each is loaded, or refused in one short printable line,
in seconds and in little memory, and nothing in it runs."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.errors import BenchError
from bench.models import load_checkpoint
from bench.models.catalogue import unet_sizes
from bench.models.checkpoints.diffusers_folder import export_diffusers
from bench.models.checkpoints.diffusers_process import CLASSES, OFF, PROCESS, WALK
from bench.models.checkpoints.load import verify_probe
from bench.models.unet import UNet
from bench.passport import passport_path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="each file is loaded in a child process"),
]

SECONDS = 20
MEGABYTES = 1024
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 1 << 20, 10**30, 10**400, 1e308, -1e308, float("nan"), float("inf"), "", "x",
    "\x1b[31m", "\u202e", "a\nb", "y" * 100_000, [], [[]], [None], [1e9] * 3, [[[[1]]]], {}, {"a": {"b": []}},
    [0] * 100_000, "../../etc/passwd", "/dev/zero",
)  # fmt: skip


def answer(attempt: Callable[[], object]) -> tuple[str, str]:
    """What loading comes to in a child of its own: ("loaded" or "refused" or what went wrong, the sentence)."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            attempt()
            said = "loaded", ""
        except BenchError as error:
            said = "refused", str(error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what the test looks for
            said = f"raised {type(error).__name__}", str(error)[:200]
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        kind = said[0] if grown <= MEGABYTES else f"took {grown} MB"
        os.write(write, json.dumps((kind, said[1]))[:60_000].encode())
        os._exit(0)
    os.close(write)
    until = time.monotonic() + 20 * SECONDS  # a machine may be busy: the limit of the processor's time comes first
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.005)
    with os.fdopen(read, "rb") as pipe:
        content = pipe.read()
    return tuple(json.loads(content)) if content else ("died, or took longer than it may", "")


def check(name: str, attempt: Callable[[], object]) -> None:
    kind, sentence = answer(attempt)
    assert kind in ("loaded", "refused"), f"{name}: {kind}: {sentence}"
    assert sentence.isprintable(), f"{name}: {sentence!r}"
    assert len(sentence) < 1500, f"{name}: {len(sentence)} characters"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Pools of threads do not survive a fork."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def network() -> UNet:
    torch.manual_seed(0)
    return UNet(unet_sizes("digits"))


def mutated(table: dict[str, Any], draw: random.Random, keys: list[str]) -> dict[str, Any]:
    """The table with one to three other values, and now and then without a key or with a new one."""
    changed = dict(table)
    for _ in range(draw.choice((1, 1, 2, 3))):
        changed[draw.choice(keys)] = draw.choice(STRANGE)
    if draw.random() < 0.2:
        changed.pop(draw.choice(list(changed)))
    if draw.random() < 0.2:
        changed[draw.choice(("\x1b[31m", "new", "x" * 1000))] = draw.choice(STRANGE)
    return changed


def test_any_config_of_a_network(tmp_path: Path, network: UNet) -> None:
    export_diffusers(network, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    draw = random.Random(1)

    for number in range(40):
        changed = mutated(config, draw, list(config))
        (tmp_path / "config.json").write_text(json.dumps(changed), encoding="utf-8")
        check(f"{number}: {str(changed)[:2000]}", lambda: load_checkpoint(tmp_path, "ddpm-unet"))


def test_any_config_of_a_scheduler(tmp_path: Path, network: UNet) -> None:
    export_diffusers(network, tmp_path)
    keys, draw = sorted({*PROCESS, *WALK, *OFF, "_class_name"}), random.Random(2)

    for number in range(40):
        changed = mutated({"_class_name": draw.choice(list(CLASSES))}, draw, keys)
        (tmp_path / "scheduler_config.json").write_text(json.dumps(changed), encoding="utf-8")
        check(f"{number}: {str(changed)[:2000]}", lambda: load_checkpoint(tmp_path, "ddpm-unet"))


def test_any_passport(tmp_path: Path, network: UNet) -> None:
    path = tmp_path / "a.pt"
    torch.save(network.state_dict(), path)
    load_checkpoint(path, "ddpm-unet")
    passport = json.loads(passport_path(path).read_text(encoding="utf-8"))
    draw = random.Random(3)

    for number in range(40):
        changed = mutated(passport, draw, list(passport))
        if draw.random() < 0.3:
            changed["probe"] = mutated(passport["probe"], draw, list(passport["probe"]))
        passport_path(path).write_text(json.dumps(changed), encoding="utf-8")
        check(f"{number}: {str(changed)[:2000]}", lambda: load_checkpoint(path, "ddpm-unet"))
        check(f"{number}, verified: {str(changed)[:2000]}", lambda: verify_probe(path))


def test_any_names_in_a_file(tmp_path: Path, network: UNet) -> None:
    """Keys and containers shuffled: sets of weights appear in odd places, twice, in part, or under strange names."""
    state, draw = dict(network.state_dict()), random.Random(4)
    words = (
        "ema",
        "model",
        "module",
        "_orig_mod",
        "state_dict",
        "optimizer",
        "\x1b[31m",
        "0",
        "online_model",
        "x" * 200,
    )

    for number in range(40):
        content: Any = {}
        for _ in range(draw.choice((1, 2, 3))):
            part = {key: tensor for key, tensor in state.items() if draw.random() > draw.choice((0.0, 0.0, 0.01))}
            for _ in range(draw.randrange(4)):
                word = draw.choice(words)
                part = {f"{word}.{key}": t for key, t in part.items()} if draw.random() < 0.5 else {word: part}
            content |= part
        path = tmp_path / f"{number}.pt"
        torch.save([content, 5] if draw.random() < 0.2 else content, path)
        check(f"{number}: {str(content)[:300]}", lambda path=path: load_checkpoint(path, "ddpm-unet"))
        path.unlink()


def test_any_header(tmp_path: Path, network: UNet) -> None:
    """A safetensors header with other entries: the numbers behind it stay as they are."""
    export_diffusers(network, tmp_path / "net")
    file = tmp_path / "net" / "diffusion_pytorch_model.safetensors"
    assert load_file(file)
    content = file.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header, numbers, draw = json.loads(content[8 : 8 + length]), content[8 + length :], random.Random(5)

    for number in range(40):
        name = draw.choice([key for key in header if key != "__metadata__"])
        changed = {**header, name: mutated(header[name], draw, ["dtype", "shape", "data_offsets"])}
        if draw.random() < 0.3:
            changed[draw.choice(("\x1b[31m", "z" * 100_000))] = changed.pop(name)
        text = json.dumps(changed).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + numbers)
        check(f"{number}: {name[:80]} {str(changed.get(name))[:300]}", lambda: load_checkpoint(file, "ddpm-unet"))
