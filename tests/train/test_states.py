"""What a training goes on from: its own state, unchanged, and nothing else; and what a full disk does to it."""

from __future__ import annotations

import io
import os
import random
import resource
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

import bench.data.catalogue
import bench.models.catalogue  # noqa: F401 - registers the model
from bench.cli import main
from bench.errors import BadCheckpoint, ExitCode, SaveError
from bench.files import file_hash
from bench.suite.schema import Ref
from bench.train import command
from bench.train.command import build_model, run_recipe
from bench.train.loop import Progress
from bench.train.recipe import Recipe, SchemeSpec, TrainSpec
from bench.train.state import TrainState, load_state

RECIPE = Recipe(
    schema=1,
    recipe="tiny",
    title="A few steps on digits",
    model=Ref(name="skip-unet", params={"skip": "zero", "skip_exponent": 2}),
    data=Ref(name="digits", params={"split": "train"}),
    scheme=SchemeSpec(depths="uniform"),
    train=TrainSpec(steps=4, batch_size=2, ema=0.9, save_every=1),
)
TEXT = """\
schema: 1
recipe: tiny
title: A few steps on digits
model: {name: skip-unet, skip: zero, skip_exponent: 2}
data: {name: digits, split: train}
scheme: {depths: uniform}
train: {steps: 4, batch_size: 2, ema: 0.9, save_every: 1}
"""
STATE = ".tiny.partial"
SEAL = b"\nbench training state 1 sha256 %s\n"


class Killed(Exception):
    """Stands for a kill."""


def killed(*arguments: object, **names: object) -> None:
    raise Killed


def kill_after(step: int) -> Callable[[Progress], None]:
    def on_step(progress: Progress) -> None:
        if progress.step == step:
            raise Killed

    return on_step


def train(out: Path, on_step: Callable[[Progress], None] = lambda progress: None) -> Path:
    return run_recipe(RECIPE, recipe_name="tiny.yaml", out_dir=out, on_step=on_step)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of an undisturbed training."""
    return train(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The state after two of four steps."""
    out = tmp_path_factory.mktemp("state")
    with pytest.raises(Killed):
        train(out, kill_after(3))
    return (out / STATE).read_bytes()


@pytest.fixture
def load(tmp_path: Path) -> Callable[[bytes], TrainState | None]:
    """Read a state of this content as the training would."""
    network = build_model(RECIPE).network
    optimizer = torch.optim.Adam(network.parameters())

    def load(content: bytes) -> TrainState | None:
        (tmp_path / STATE).write_bytes(content)
        return load_state(tmp_path / STATE, RECIPE, network, optimizer)

    return load


def sealed(payload: bytes) -> bytes:
    return payload + SEAL % sha256(payload).hexdigest().encode()


def payload_of(state: bytes) -> bytes:
    return state[: -len(SEAL % (b"0" * 64))]


def content_of(state: bytes) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(io.BytesIO(payload_of(state)), weights_only=True)
    return content


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return sealed(file.getvalue())


def test_a_state_is_read_as_it_was_written(state: bytes, load: Callable[[bytes], TrainState | None]) -> None:
    found = load(state)

    assert found is not None
    assert (found.step, len(found.curve), len(found.recent)) == (2, 2, 0)
    assert all(torch.equal(found.network[key], value) for key, value in content_of(state)["network"].items())
    assert sealed(payload_of(state)) == state
    assert load(saved(content_of(state))) is not None


def test_no_flipped_bit_is_continued(state: bytes, load: Callable[[bytes], TrainState | None]) -> None:
    rng = random.Random(5)
    places = [0, 1, len(state) - 1, len(state) - 2, *(rng.randrange(len(state)) for _ in range(40))]
    places += [rng.randrange(len(state) - 100, len(state)) for _ in range(20)]

    for place in places:
        damaged = bytearray(state)
        damaged[place] ^= 1 << rng.randrange(8)
        with pytest.raises(BadCheckpoint, match=r"\.tiny\.partial: cannot be continued: .*; delete it to start anew"):
            load(bytes(damaged))


@pytest.mark.parametrize("part", [0.0, 1e-5, 0.5, 0.999])
def test_a_state_that_was_cut_short_is_refused(
    state: bytes, load: Callable[[bytes], TrainState | None], part: float
) -> None:
    with pytest.raises(BadCheckpoint, match="it does not end with its check sum, so it was cut short"):
        load(state[: int(part * len(state))])


def test_a_state_without_a_check_sum_is_not_believed(state: bytes, load: Callable[[bytes], TrainState | None]) -> None:
    with pytest.raises(BadCheckpoint, match="or an older version wrote it; that version can finish it"):
        load(payload_of(state))


def with_key(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda content: {**content, name: value}


def with_tensor(name: str, change: Callable[[torch.Tensor], object]) -> Callable[[dict[str, Any]], object]:
    """The content with the first tensor of more than one dimension changed."""

    def changed(content: dict[str, Any]) -> object:
        key = next(key for key, tensor in content[name].items() if tensor.ndim > 1)
        return {**content, name: {**content[name], key: change(content[name][key])}}

    return changed


def with_moment(key: str, change: Callable[[torch.Tensor], object]) -> Callable[[dict[str, Any]], object]:
    def changed(content: dict[str, Any]) -> object:
        averages = content["optimizer"]["state"]
        index = next(iter(averages))
        state = {**averages, index: {**averages[index], key: change(averages[index][key])}}
        return {**content, "optimizer": {**content["optimizer"], "state": state}}

    return changed


def every_count(content: dict[str, Any]) -> object:
    averages = content["optimizer"]["state"]
    state = {index: {**entry, "step": entry["step"] + 1} for index, entry in averages.items()}
    return {**content, "optimizer": {**content["optimizer"], "state": state}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: [1], "it is no training state"),
        (lambda content: {}, "it is no training state"),
        (with_key("more", 1), "it is no training state"),
        (with_key("step", "x"), "step is of the type 'str', expected a whole number from 1 to 4"),
        (with_key("step", 1.5), "step is 1.5, expected a whole number from 1 to 4"),
        (with_key("step", True), "step is of the type 'bool'"),
        (with_key("step", -5), "step is -5, expected"),
        (with_key("step", 0), "step is 0, expected"),
        (with_key("step", 5), "step is 5, expected"),
        (with_key("step", 10**300), "step is of the type 'int', expected"),
        (with_key("step", 3), "curve and recent hold the losses of 2 steps, expected 3"),
        (with_key("seconds", "x"), "seconds is of the type 'str', expected a number of at least 0"),
        (with_key("seconds", float("nan")), "seconds is nan, expected"),
        (with_key("seconds", -1.0), "seconds is -1.0, expected"),
        (with_key("seconds", 10**400), "seconds is of the type 'int', expected"),
        (with_key("curve", "x"), "curve is not a list of pairs of numbers"),
        (with_key("curve", [[1.0]]), "curve is not a list of pairs of numbers"),
        (with_key("curve", [[1.0, float("inf")], [2.0, 1.0]]), "curve is not a list of pairs of numbers"),
        (with_key("curve", [[2.0, 1.0], [1.0, 1.0]]), "the steps of curve do not rise"),
        (with_key("recent", None), "recent is not a list of numbers"),
        (with_key("recent", ["x"]), "recent is not a list of numbers"),
        (with_key("recent", [0.5]), "curve and recent hold the losses of 3 steps, expected 2"),
        (with_key("network", []), "network does not hold the tensors of this network"),
        (with_key("network", {}), "network does not hold the tensors of this network"),
        (with_key("ema", {}), "ema does not hold the tensors of this network"),
        (with_tensor("network", lambda tensor: tensor[..., :1]), r"network: \S+ is \(.*\) torch.float32, expected"),
        (with_tensor("network", lambda tensor: tensor.half()), r"network: \S+ is \(.*\) torch.float16, expected"),
        (with_tensor("network", lambda tensor: tensor * float("nan")), r"network: \S+ holds NaN or infinity"),
        (with_tensor("network", lambda tensor: tensor.tolist()), r"network: \S+ is no tensor of numbers"),
        (with_tensor("network", lambda tensor: tensor.to("meta")), r"network: \S+ is no tensor of numbers"),
        (with_tensor("ema", lambda tensor: tensor[..., :1]), r"ema: \S+ is \(.*\) torch.float32, expected"),
        (with_key("optimizer", {}), r"optimizer is not the state of Adam for \d+ parameters"),
        (with_key("optimizer", {"state": []}), "optimizer is not the state of Adam"),
        (with_key("optimizer", {"state": {"a": 1}}), "optimizer is not the state of Adam"),
        (with_key("optimizer", {"state": {10**6: {}}}), "optimizer is not the state of Adam"),
        (with_key("optimizer", {"state": {0: {}}}), "optimizer, parameter 0: not Adam's step, exp_avg and exp_avg_sq"),
        (with_key("optimizer", {"state": {}}), "the steps that optimizer counts do not fit step 2"),
        (with_moment("exp_avg", lambda tensor: tensor[..., :1]), r"optimizer, parameter \d+: exp_avg is"),
        (with_moment("exp_avg_sq", lambda tensor: tensor * float("inf")), "optimizer, .*exp_avg_sq holds NaN"),
        (with_moment("step", lambda tensor: 2.0), r"optimizer, parameter \d+: step is no tensor of numbers"),
        (with_moment("step", lambda tensor: tensor - 5), "the steps that optimizer counts do not fit step 2"),
        (every_count, "the steps that optimizer counts do not fit step 2"),
    ],
)
def test_a_state_that_this_training_cannot_have_written_is_refused(
    state: bytes,
    load: Callable[[bytes], TrainState | None],
    change: Callable[[dict[str, Any]], object],
    reason: str,
) -> None:
    with pytest.raises(BadCheckpoint, match=rf"cannot be continued: ({reason}).*; delete it to start anew"):
        load(saved(change(content_of(state))))


@pytest.mark.parametrize("payload", [b"", b"hello", __import__("pickle").dumps(print), b"PK\5\6" + bytes(18)])
def test_what_is_no_state_is_refused_whatever_its_check_sum(
    load: Callable[[bytes], TrainState | None], payload: bytes
) -> None:
    with pytest.raises(BadCheckpoint, match="cannot be continued: it is no training state"):
        load(sealed(payload))


def test_a_state_that_is_packed_is_not_unpacked(state: bytes, load: Callable[[bytes], TrainState | None]) -> None:
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(payload_of(state))) as archive,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as smaller,
    ):
        for member in archive.infolist():
            smaller.writestr(member.filename, bytes(member.file_size))

    with pytest.raises(BadCheckpoint, match="its parts are packed"):
        load(sealed(packed.getvalue()))


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_nothing_but_a_file_is_taken_for_a_state(tmp_path: Path, kind: str) -> None:
    path = tmp_path / STATE
    {"pipe": lambda: os.mkfifo(path), "folder": path.mkdir, "device": lambda: path.symlink_to("/dev/zero")}[kind]()

    with pytest.raises(BadCheckpoint, match=f"is a {kind}, expected a regular file; delete it to start anew"):
        train(tmp_path)


def test_the_settings_of_the_optimizer_are_the_recipes(
    state: bytes, load: Callable[[bytes], TrainState | None]
) -> None:
    content = content_of(state)
    content["optimizer"]["param_groups"] = [{"lr": 1e9, "betas": (0.0, 0.0), "params": [5]}]

    found = load(saved(content))

    assert found is not None
    (group,) = found.optimizer["param_groups"]
    assert group["betas"] == (0.9, 0.999)


@pytest.mark.parametrize("place", ["write_whole", "write_passport"])
def test_a_training_killed_while_it_finishes_goes_on(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Before the weights are written, and between them and their passport."""
    with monkeypatch.context() as patch:
        patch.setattr(command, place, killed)
        with pytest.raises(Killed):
            train(tmp_path)

    weights = train(tmp_path, on_step=kill_after(4))  # no step is left

    assert file_hash(weights) == file_hash(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_weights_with_neither_passport_nor_state_are_trained_again(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "tiny.safetensors").write_bytes(whole.read_bytes())

    assert file_hash(train(tmp_path)) == file_hash(whole)
    assert (tmp_path / "tiny.json").is_file()


def test_a_damaged_passport_is_left_for_its_owner(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "tiny.safetensors").write_bytes(whole.read_bytes())
    (tmp_path / "tiny.json").write_bytes(whole.with_suffix(".json").read_bytes()[:50])

    with pytest.raises(BadCheckpoint, match=r"tiny\.json: not a passport: .*or delete tiny\.json to train them anew"):
        train(tmp_path)


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the nearest thing to a full disk that needs no rights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_stops_a_training_in_one_sentence_and_it_goes_on_with_room(tmp_path: Path, whole: Path) -> None:
    size = whole.stat().st_size

    for limit in (64, size // 2, 3 * size):
        out = tmp_path / str(limit)
        with pytest.raises(SaveError, match=r"cannot be written: File too large; make room"), files_of_at_most(limit):
            train(out)
        assert {path.name for path in out.iterdir()} <= {STATE}

        assert file_hash(train(out)) == file_hash(whole)


@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny.json", "tiny.png"])
def test_a_full_disk_at_the_end_of_a_training_is_exit_code_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Whichever file is the one that does not fit."""
    import bench.files

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("bench.train.gallery.draw_samples", lambda denoiser: torch.zeros(60, 1, 16, 16))
    (tmp_path / "tiny.yaml").write_text(TEXT)
    arguments = ["train", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "out"), "--json"]
    give_name = bench.files._give_name

    def full(folder: int, descriptor: int, temporary: str, final: str) -> None:
        if final == name:
            raise OSError(28, "No space left on device")
        give_name(folder, descriptor, temporary, final)

    with monkeypatch.context() as patch:
        patch.setattr(bench.files, "_give_name", full)
        assert main(arguments) == ExitCode.CANNOT_SAVE
    message = capsys.readouterr().err

    assert message.count("\n") == 1
    assert f"{name}: cannot be written: No space left on device; make room" in message
    assert main(arguments) == ExitCode.OK
