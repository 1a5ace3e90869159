"""Checkpoints as people have them: several sets of weights, wrappers' prefixes, optimisers, double precision; and files
made to take memory, to hang or to write on a terminal."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.contracts import Denoiser, Weights
from bench.errors import BadCheckpoint, MissingWeights, UserError
from bench.models import load_checkpoint
from bench.models.catalogue import unet_sizes
from bench.models.checkpoints.load import verify_probe
from bench.models.unet import UNet
from bench.passport import passport_path, read_passport

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def raw() -> State:
    torch.manual_seed(0)
    return dict(UNet(unet_sizes("digits")).state_dict())


@pytest.fixture(scope="module")
def average(raw: State) -> State:
    return {key: tensor * 1.01 + 1e-4 for key, tensor in raw.items()}


def behind(prefix: str, state: State) -> State:
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


def adam(state: State) -> dict[str, object]:
    """The state of Adam after one step."""
    moments = {
        index: {"step": torch.tensor(1.0), "exp_avg": tensor * 0.1, "exp_avg_sq": tensor**2}
        for index, tensor in enumerate(state.values())
    }
    return {"state": moments, "param_groups": [{"lr": 2e-4, "betas": (0.9, 0.999), "params": [0, 1, 2]}]}


def saved(folder: Path, content: object) -> Path:
    torch.save(content, folder / "a.pt")
    return folder / "a.pt"


def holds(denoiser: Denoiser, state: State) -> bool:
    assert isinstance(denoiser.network, nn.Module)
    answer = denoiser.network.state_dict()
    return answer.keys() == state.keys() and all(torch.equal(answer[key], state[key]) for key in state)


# --- several sets of weights ----------------------------------------------------------------------------------------

BOTH: dict[str, Callable[[State, State], object]] = {
    "state_dict_ema": lambda raw, ema: {"state_dict": raw, "state_dict_ema": ema, "epoch": 3},
    "ema_state_dict": lambda raw, ema: {"state_dict": raw, "ema_state_dict": ema},
    "average first": lambda raw, ema: {"ema": ema, "model": raw},
    "model_ema": lambda raw, ema: {"model": raw, "model_ema": behind("module.", ema)},
    "module and ema": lambda raw, ema: {"module": raw, "ema": ema},
    "ema.module": lambda raw, ema: {"model": raw, "ema": {"module": ema, "updates": 7, "decay": torch.tensor(0.9)}},
    "camel case": lambda raw, ema: {"model": raw, "modelEMA": ema},
    "averaged_model": lambda raw, ema: {"model": raw, "averaged_model": ema},
    "AveragedModel": lambda raw, ema: {
        "model": raw, "other": {"n_averaged": torch.tensor(3), **behind("module.", ema)}
    },
    "shadow": lambda raw, ema: {"model": raw, "helper": {"shadow": ema, "decay": 0.999}},
    "one dictionary": lambda raw, ema: {"state_dict": {**behind("model.", raw), **behind("ema_model.", ema)}},
    "beside the raw ones": lambda raw, ema: {**raw, **behind("ema.", ema)},
    "compiled": lambda raw, ema: {"model": behind("_orig_mod.", raw), "ema": behind("_orig_mod.module.", ema)},
    "callback": lambda raw, ema: {"state_dict": raw, "callbacks": {"EMACallback": {"shadow": ema}}},
    "said to be none": lambda raw, ema: {"ema": ema, "non_ema": raw},
    "raw copy inside": lambda raw, ema: {
        "model": raw, "ema": {"ema_model": ema, "online_model": {key: tensor.clone() for key, tensor in raw.items()}}
    },
    "with its optimiser": lambda raw, ema: {"model": raw, "optimizer": adam(raw), "ema": ema},
}  # fmt: skip


@pytest.mark.parametrize("name", BOTH)
def test_the_average_is_taken_unless_the_raw_weights_are_asked_for(
    tmp_path: Path, raw: State, average: State, name: str
) -> None:
    path = saved(tmp_path, BOTH[name](raw, average))

    default, insisted = load_checkpoint(path, "ddpm-unet"), load_checkpoint(path, "ddpm-unet", ema=True)
    asked = load_checkpoint(path, "ddpm-unet", ema=False)

    assert holds(default, average) and holds(insisted, average) and holds(asked, raw)
    assert (default.weights.ema, insisted.weights.ema, asked.weights.ema) == (True, True, False)
    assert (read_passport(path).ema, read_passport(path).ema_source) == (True, "file")
    verify_probe(path)


def test_a_safetensors_file_with_both_sets_follows_the_same_rule(tmp_path: Path, raw: State, average: State) -> None:
    path = tmp_path / "a.safetensors"
    save_file({**behind("model.", raw), **behind("model_ema.", average)}, path)

    assert holds(load_checkpoint(path, "ddpm-unet"), average)
    assert holds(load_checkpoint(path, "ddpm-unet", ema=False), raw)


def test_a_passport_of_the_raw_weights_is_verified_with_them(tmp_path: Path, raw: State, average: State) -> None:
    path = saved(tmp_path, {"state_dict": raw, "state_dict_ema": average})

    load_checkpoint(path, "ddpm-unet", ema=False)

    assert (read_passport(path).ema, read_passport(path).ema_source) == (False, "file")
    verify_probe(path)


NAMELESS: dict[str, tuple[Callable[[State, State], object], str]] = {
    "shadow_params": (
        lambda raw, ema: {"model": raw, "ema": {"decay": 0.9, "shadow_params": list(ema.values())}},
        "weights in 'model' and a moving average in 'ema'",
    ),
    "names without dots": (
        lambda raw, ema: {
            "state_dict": {
                **behind("model.", raw),
                **{f"model_ema.{key.replace('.', '')}": tensor for key, tensor in ema.items()},
            }
        },
        "'state_dict.model' and a moving average in 'state_dict.model_ema'",
    ),
    "in the optimiser": (
        lambda raw, ema: {"state_dict": raw, "optimizer_states": [{"opt": adam(raw), "ema": tuple(ema.values())}]},
        "'state_dict' and a moving average in 'optimizer_states'",
    ),
    "with a key missing": (
        lambda raw, ema: {"model": raw, "ema": dict(list(ema.items())[1:])},
        "'model' and a moving average in 'ema'",
    ),
    "of a milestone": (
        lambda raw, ema: {"step": 5, "model": behind("model.", raw), "ema": {"shadow_params": list(ema.values())}},
        "and a moving average in 'ema'",
    ),
}


@pytest.mark.parametrize("name", NAMELESS)
def test_an_average_without_the_networks_names_is_named_and_never_passed_over(
    tmp_path: Path, raw: State, average: State, name: str
) -> None:
    make, match = NAMELESS[name]
    path = saved(tmp_path, make(raw, average))

    for ema in (None, True):
        with pytest.raises(BadCheckpoint, match=match):
            load_checkpoint(path, "ddpm-unet", ema=ema)
    assert holds(load_checkpoint(path, "ddpm-unet", ema=False), raw)


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        (("state_dict", "best"), "2 sets of weights, in 'state_dict' and 'best'"),
        (("student", "teacher"), "2 sets of weights, in 'student' and 'teacher'"),
        (("ema_0.9", "ema_0.99"), r"2 moving averages, in 'ema_0\.9' and 'ema_0\.99'"),
    ],
)
def test_two_sets_that_nothing_tells_apart_are_refused_by_their_names(
    tmp_path: Path, raw: State, average: State, entries: tuple[str, str], match: str
) -> None:
    path = saved(tmp_path, dict(zip(entries, (raw, average), strict=True)))

    with pytest.raises(BadCheckpoint, match=match):
        load_checkpoint(path, "ddpm-unet")


def test_a_list_of_numbers_of_the_same_shapes_is_not_passed_over(tmp_path: Path, raw: State, average: State) -> None:
    path = saved(tmp_path, {"model": raw, "second": list(average.values())})

    with pytest.raises(BadCheckpoint, match="'model' and tensors of the same shapes in 'second'"):
        load_checkpoint(path, "ddpm-unet")


def test_one_set_under_two_names_is_one(tmp_path: Path, raw: State) -> None:
    assert holds(load_checkpoint(saved(tmp_path, {"model": raw, "state_dict": raw}), "ddpm-unet"), raw)


def test_what_is_left_out_of_a_file_is_said(tmp_path: Path, raw: State) -> None:
    path = saved(tmp_path, {"generator": raw, "discriminator": {"a.weight": torch.ones(3, 3)}, "optimizer": adam(raw)})

    denoiser = load_checkpoint(path, "ddpm-unet")

    assert denoiser.weights.source == "a.pt (left out of the file: 'discriminator')"


def test_a_part_of_a_larger_network_is_not_taken_for_the_network(tmp_path: Path, raw: State) -> None:
    path = saved(tmp_path, {**behind("layers.3.", raw), "layers.4.weight": torch.ones(3, 3)})

    with pytest.raises(BadCheckpoint, match=r"the network's keys in 'layers\.3', and other weights in 'layers\.4'"):
        load_checkpoint(path, "ddpm-unet")


def test_only_the_caller_says_that_a_flat_file_is_an_average_and_that_is_recorded(tmp_path: Path, raw: State) -> None:
    path = saved(tmp_path, raw)

    denoiser = load_checkpoint(path, "ddpm-unet", ema=True)

    assert denoiser.weights.source == "a.pt (moving average by the caller's word; the file does not say)"
    assert (read_passport(path).ema, read_passport(path).ema_source) == (True, "caller")
    assert "by the caller's word" in load_checkpoint(path, "ddpm-unet").weights.source
    assert not load_checkpoint(path, "ddpm-unet", ema=False).weights.ema


def test_nobody_says_anything_of_a_flat_file(tmp_path: Path, raw: State) -> None:
    path = saved(tmp_path, raw)

    denoiser = load_checkpoint(path, "ddpm-unet")

    assert (denoiser.weights.ema, denoiser.weights.source) == (False, "a.pt")
    assert read_passport(path).ema_source is None


def test_the_raw_weights_of_a_file_that_holds_the_average_alone_are_refused(tmp_path: Path, average: State) -> None:
    path = saved(tmp_path, {"ema": average})

    assert load_checkpoint(path, "ddpm-unet", ema=True).weights.ema
    with pytest.raises(BadCheckpoint, match="holds a moving average only, in 'ema'"):
        load_checkpoint(path, "ddpm-unet", ema=False)


# --- prefixes, optimisers, precision --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "_orig_mod.module.",
        "module._orig_mod.",
        "module.module.",
        "model.",
        "net.",
        "unet.",
        "denoise_fn.",
        "model.diffusion_model.",
        "anything.at.all.",
    ],
)
def test_a_prefix_before_every_key_is_taken_off(tmp_path: Path, raw: State, prefix: str) -> None:
    assert holds(load_checkpoint(saved(tmp_path, behind(prefix, raw)), "ddpm-unet"), raw)
    assert holds(load_checkpoint(tmp_path / "a.pt"), raw)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model_state_dict": state, "epoch": 3},
        lambda state: {"state_dict": behind("model.", state), "hyper_parameters": {"lr": 1e-4}},
        lambda state: {"checkpoint": {"model_state_dict": behind("module.", state)}},
        lambda state: {"a": [{"b": behind("_orig_mod.", state)}]},
        lambda state: {"state_dict": {**behind("denoise_fn.", state), "betas": torch.ones(1000)}},
        lambda state: {"model_state_dict": state, "optimizer_state_dict": adam(state), "loss": torch.tensor(0.5)},
    ],
)
def test_containers_around_the_state_dict_are_opened(tmp_path: Path, raw: State, wrap: Callable[[State], Any]) -> None:
    assert holds(load_checkpoint(saved(tmp_path, wrap(raw)), "ddpm-unet"), raw)


def test_a_diffusers_state_behind_a_prefix_is_read(tmp_path: Path, raw: State) -> None:
    from bench.models.checkpoints.diffusers_folder import export_diffusers
    from bench.models.checkpoints.safe_load import read_tensors

    network = UNet(unet_sizes("digits"))
    network.load_state_dict(raw)
    state = read_tensors(export_diffusers(network, tmp_path / "net"))

    path = saved(tmp_path, {"unet": behind("_orig_mod.", state), "step": 5})

    assert holds(load_checkpoint(path, "ddpm-unet", config="digits"), raw)


def test_a_prefix_is_named_where_the_rest_does_not_fit(tmp_path: Path, raw: State) -> None:
    state = behind("_orig_mod.", {**raw, "conv_in.weight": torch.ones(3)})

    with pytest.raises(BadCheckpoint, match=r"behind the prefix '_orig_mod\.': 'conv_in\.weight' is \(3,\), expected"):
        load_checkpoint(saved(tmp_path, state), "ddpm-unet")
    with pytest.raises(BadCheckpoint, match=r"behind the prefix '_orig_mod\.': missing 'temb"):
        load_checkpoint(saved(tmp_path, behind("_orig_mod.", {"a": torch.ones(3)})), "ddpm-unet")


@pytest.mark.parametrize(
    "content",
    [
        lambda state: adam(state),
        lambda state: {"optimizer": adam(state)},
        lambda state: {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        lambda state: {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    ],
)
def test_an_optimisers_file_is_called_one(tmp_path: Path, raw: State, content: Callable[[State], object]) -> None:
    with pytest.raises(BadCheckpoint, match="holds an optimiser's state, not weights"):
        load_checkpoint(saved(tmp_path, content(raw)), "ddpm-unet")


def test_double_precision_is_rounded_and_noted(tmp_path: Path, raw: State) -> None:
    fine = {key: tensor.double() + 1e-12 for key, tensor in raw.items()}

    denoiser = load_checkpoint(saved(tmp_path, fine), "ddpm-unet")

    assert holds(denoiser, {key: tensor.float() for key, tensor in fine.items()})
    assert denoiser.weights.source == "a.pt (float64 rounded to float32)"
    assert read_passport(tmp_path / "a.pt").dtype == "float64"


def test_a_number_too_large_for_single_precision_is_refused(tmp_path: Path, raw: State) -> None:
    state = {key: tensor.double() for key, tensor in raw.items()}
    state["conv_in.bias"][0] = 1e300

    with pytest.raises(BadCheckpoint, match=r"'conv_in\.bias' holds numbers that are too large for float32"):
        load_checkpoint(saved(tmp_path, state), "ddpm-unet")


def test_weights_that_answer_with_no_number_have_no_probe(tmp_path: Path, raw: State) -> None:
    path = saved(tmp_path, {key: tensor + 1e6 for key, tensor in raw.items()})

    load_checkpoint(path, "ddpm-unet")

    assert read_passport(path).probe is None


def test_a_plug_ins_own_file_is_named_with_its_hash(tmp_path: Path) -> None:
    (tmp_path / "own.bin").write_bytes(b"numbers")

    weights = Weights.of(tmp_path / "own.bin", ema=True, steps=5)

    assert weights == Weights("trained", "own.bin", sha256(b"numbers").hexdigest(), True, 5)
    for name in ("gone.bin", ".", "a\0b"):
        with pytest.raises(MissingWeights, match="cannot be read"):
            Weights.of(tmp_path / name)


# --- what a stranger's file may do ----------------------------------------------------------------------------------


def peak_bytes() -> int:
    """VmHWM of this process; 0 where there is no /proc."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def refused(path: Path) -> str:
    """The sentence of the refusal: one short line of printable characters, for little memory."""
    before = peak_bytes()
    with pytest.raises(UserError) as error:
        load_checkpoint(path, "ddpm-unet")
    message = str(error.value)
    assert peak_bytes() - before < 512 << 20
    assert message.isprintable() and len(message) < 1500
    return message


def archived(value: object) -> bytes:
    """A torch archive with the value as its pickle and no numbers."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, protocol=2))
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        {"a": {"k" * (1 << 20): list(range(150_000))}},
        {"a": {"k" * 600: {"l" * 600: 1}}},
        {"a": list(range(250_000))},
        {"a": [[[["k" * 500] * 500] * 20] * 20]},
        {"k" * 100_000: 1},
    ],
    ids=["long key, many values", "long keys", "many values", "shared lists", "long name"],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_names_and_nodes_are_counted_before_they_are_made(tmp_path: Path, value: object, legacy: bool) -> None:
    path = tmp_path / "a.pt"
    if legacy:
        head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
        path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in (*head, value, [])))
    else:
        path.write_bytes(archived(value))

    assert str(path) in refused(path)


def header(table: object) -> bytes:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + bytes(4)


@pytest.mark.parametrize(
    "content",
    [
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [10**4299, 10**4299 + 4]}},
        {"a": {"dtype": "F32", "shape": [10**4000], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F" * 1_000_000, "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1] * 1_000_000, "data_offsets": [0, 4]}},
        {"a" * 1_000_000: {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}},
        {"\x1b[31m\u202e\n": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
        {"\x1b[31m": {"dtype": "\x1b[31m", "shape": [1], "data_offsets": [0, 4]}},
        b'{"a":' + b"9" * 5000 + b"}",
        {str(number): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(120_000)},
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_header_of_anything_is_refused_in_a_short_line(tmp_path: Path, content: object) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(header(content))

    refused(path)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "a\0b", "\x1b[31m.pt", "a\nb.pt", "/".join(["y" * 200] * 30)])
def test_a_path_that_no_file_has_is_a_sentence(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path / name)


def test_a_file_whose_passport_would_have_too_long_a_name_loads_without_one(tmp_path: Path, raw: State) -> None:
    path = tmp_path / f"{'n' * 252}.pt"
    torch.save(raw, path)

    assert holds(load_checkpoint(path, "ddpm-unet"), raw)


PASSPORTS: dict[str, bytes] = {
    "deep": b"[" * 200_000,
    "deep tables": b'{"schema":1,"a":' * 100_000,
    "UTF-16": "{}".encode("utf-16"),
    "latin": b'{"name": "\xe9"}',
    "HTML": b"<html>",
    "empty": b"",
    "half a character": b'{"schema": 1, "name": "\\ud800"}',
    "digits": b'{"schema": ' + b"9" * 5000 + b"}",
    "20 MB": b"[" + b"1," * 10_000_000 + b"1]",
}


@pytest.mark.parametrize("name", PASSPORTS)
def test_a_passport_that_is_none_is_refused(tmp_path: Path, raw: State, name: str) -> None:
    path = saved(tmp_path, raw)
    passport_path(path).write_bytes(PASSPORTS[name])

    assert "a.json: " in refused(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": "1"},
        {"schema": True},
        {"name": 5},
        {"name": ["a"]},
        {"name": "x" * 5000},
        {"sha256": 5},
        {"sha256": None},
        {"sha256": "\x1b[31m"},
        {"sha256": "\u202e" + "0" * 63},
        {"keys_sha256": []},
        {"format": {}},
        {"model": None},
        {"params": []},
        {"params": {"a": {"b": 1}}},
        {"params": {"a": [[1]]}},
        {"params": {"a": 10**400}},
        {"prediction": 1},
        {"ema": 1},
        {"ema": "yes"},
        {"ema_source": "me"},
        {"steps": -1},
        {"steps": 1.5},
        {"dtype": 32},
        {"origin": "found"},
        {"seconds": "long"},
        {"seed": 1e308},
        {"curve": {"a": 1}},
        {"curve": [1]},
        {"curve": [["a"]]},
        {"curve": [[10**400]]},
        {"facts": []},
        {"made_with": {"torch": 2}},
        {"probe": []},
        {"probe": {}},
        {"probe": {"seed": 0, "timesteps": [0, 1], "means": [0.0], "stds": [0.0], "tolerance": 1e-3}},
        {"probe": {"seed": 0, "timesteps": [0.5], "means": [0.0], "stds": [0.0], "tolerance": 1e-3}},
        {"probe": {"seed": 0, "timesteps": [0] * 99, "means": [0.0] * 99, "stds": [0.0] * 99, "tolerance": 1e-3}},
        {"\x1b[31m": 1},
    ],
    ids=lambda value: str(value)[:40],
)
def test_every_field_of_a_passport_has_its_type(tmp_path: Path, raw: State, changed: dict[str, object]) -> None:
    path = saved(tmp_path, raw)
    load_checkpoint(path, "ddpm-unet")
    content = json.loads(passport_path(path).read_text(encoding="utf-8"))
    passport_path(path).write_text(json.dumps({**content, **changed}), encoding="utf-8")

    assert "a.json: not a passport: " in refused(path)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_a_passport_that_is_no_file_is_not_waited_for(tmp_path: Path, raw: State, kind: str) -> None:
    path = saved(tmp_path, raw)
    place = passport_path(path)
    make: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(place),
        "device": lambda: place.symlink_to("/dev/zero"),
        "folder": lambda: place.mkdir(),
        "loop": lambda: place.symlink_to(place.name),
    }
    make[kind]()

    assert "a.json: cannot be read: " in refused(path)


def test_the_table_of_a_passports_fields_is_whole() -> None:
    from dataclasses import fields

    from bench.passport import PASSPORT_FIELDS, PROBE_FIELDS, GoldenProbe, Passport

    assert PASSPORT_FIELDS.keys() == {field.name for field in fields(Passport)}
    assert PROBE_FIELDS.keys() == {field.name for field in fields(GoldenProbe)}


@pytest.mark.parametrize(
    ("model", "params", "match"),
    [
        ("lucid-unet", {"width": 512}, "claims to hold"),
        (
            "lucid-unet",
            {"width": 65_536},
            "asks for what no network is: 'lucid-unet': width: must be between 1 and 2,048",
        ),
        ("lucid-unet", {"width": 1 << 40}, "asks for what no network is"),
        ("dncnn", {"depth": 64}, "made for another network"),
        ("dncnn", {"depth": 60_000}, "depth: must be between"),
        ("conv-autoencoder", {"width": 128}, "claims to hold more numbers than it has"),
    ],
)
def test_a_network_that_a_passport_names_costs_what_its_file_holds(
    tmp_path: Path, raw: State, model: str, params: dict[str, int], match: str
) -> None:
    path = saved(tmp_path, raw)
    load_checkpoint(path, "ddpm-unet")
    content = json.loads(passport_path(path).read_text(encoding="utf-8"))
    changed = {**content, "model": model, "params": {"config": "digits", **params}}
    passport_path(path).write_text(json.dumps(changed), encoding="utf-8")
    before = peak_bytes()

    with pytest.raises(UserError) as error:
        verify_probe(path)

    assert peak_bytes() - before < 256 << 20
    assert match in str(error.value) or "claims to hold" in str(error.value)


def test_a_milestones_version_is_shown_on_one_short_line(tmp_path: Path) -> None:
    names = ["model.model.init_conv.weight", "model.model.downs.0.mem_kv"]
    path = saved(tmp_path, {"model": {name[6:]: torch.ones(2) for name in names}, "version": "\x1b[31m" + "9" * 5000})

    with pytest.raises(BadCheckpoint) as error:
        load_checkpoint(path, "lucid-unet")
    assert str(error.value).isprintable() and len(str(error.value)) < 1500


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"gone\.pt: no such file"):
        load_checkpoint(tmp_path / "gone.pt")


# --- whatever was imported before -----------------------------------------------------------------------------------


def test_every_denoiser_is_known_in_a_fresh_python(tmp_path: Path) -> None:
    code = """
import bench
import bench.models
from pathlib import Path
weights = Path(bench.models.__file__).parent / "weights"
for name in ("lucid-unet", "cunet", "cunet-released"):
    print(bench.load_checkpoint(weights / f"digits-{name}.safetensors", model=name).weights.source)
"""

    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, check=False)

    expected = ["digits-lucid-unet.safetensors", "digits-cunet.safetensors", "digits-cunet-released.safetensors"]
    assert run.stdout.split() == expected, run.stderr


def test_a_file_of_very_many_sets_is_refused_at_once(tmp_path: Path) -> None:
    from bench.models.checkpoints.contents import Contents, StoredTensor
    from bench.models.checkpoints.formats import WrongLayout, select

    tensor = StoredTensor("float32", (2,), 0)
    names = [f"{number}.{key}" for number in range(30_000) for key in ("weight", "bias")]

    with pytest.raises(WrongLayout, match="holds 30,000 sets of weights, '0\\.', '1\\.', '2\\.' and 29997 more"):
        select(Contents(dict.fromkeys(names, tensor), {}), {"weight": (2,), "bias": (2,)})
