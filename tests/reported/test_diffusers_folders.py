"""diffusers folders as people have them: any scheduler, variants, shards, a hub's cache of links."""

from __future__ import annotations

import inspect
import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.contracts import Denoiser, Prediction, ScheduleSpec
from bench.diffusion.parameterization import to_x0_eps
from bench.diffusion.samplers import build_ddim
from bench.diffusion.schedule import build_schedule
from bench.errors import BadCheckpoint, MissingWeights
from bench.models import load_checkpoint
from bench.models.checkpoints.diffusers_folder import export_diffusers
from bench.models.checkpoints.diffusers_process import CLASSES, PROCESS, WALK, read_process
from bench.models.checkpoints.shipped import load_weights
from bench.models.unet import UNet, UNetSizes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SIZES = UNetSizes(
    image_size=8, in_channels=1, base_channels=8, channel_multipliers=(1, 2), blocks_per_level=1, norm_groups=4
)
NAME = "diffusion_pytorch_model"


@pytest.fixture(scope="module")
def network() -> UNet:
    torch.manual_seed(0)
    return UNet(SIZES)


def pipeline(folder: Path, network: UNet, scheduler: dict[str, Any] | None) -> Path:
    """A pipeline folder with the network in `unet` and a scheduler's config."""
    export_diffusers(network, folder / "unet")
    if scheduler is not None:
        (folder / "scheduler").mkdir()
        (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler), encoding="utf-8")
    return folder


def same(denoiser: Denoiser, network: nn.Module) -> bool:
    assert isinstance(denoiser.network, nn.Module)
    answer, expected = denoiser.network.state_dict(), network.state_dict()
    return answer.keys() == expected.keys() and all(torch.equal(answer[key], expected[key]) for key in expected)


# --- the process ----------------------------------------------------------------------------------------------------


def test_zero_terminal_snr_is_walked_with_its_own_betas(tmp_path: Path, network: UNet) -> None:
    config = {"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}

    denoiser = load_checkpoint(pipeline(tmp_path, network, config), "ddpm-unet")

    schedule = build_schedule(denoiser.schedule)
    assert schedule.alpha_bar(500) == pytest.approx(0.07525, abs=5e-6)
    assert schedule.alpha_bar(999) == 0.0
    assert denoiser.prediction is Prediction.V


def test_zero_terminal_snr_with_predicted_noise_is_refused(tmp_path: Path, network: UNet) -> None:
    config = {"_class_name": "DDPMScheduler", "rescale_betas_zero_snr": True, "prediction_type": "epsilon"}

    with pytest.raises(BadCheckpoint, match=r"scheduler_config\.json: rescale_betas_zero_snr with a network that pred"):
        load_checkpoint(pipeline(tmp_path, network, config), "ddpm-unet")


def test_a_walk_over_zero_terminal_snr_is_diffusers_walk() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(
        rescale_betas_zero_snr=True, prediction_type="v_prediction", clip_sample=False, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(10)
    spec = ScheduleSpec(zero_terminal_snr=True)
    schedule, sampler = build_schedule(spec), build_ddim(spec, 10, "trailing", 0.0, clip_x0=False)
    x_T = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    def v(x_t: Tensor) -> Tensor:
        return x_t.sin()

    theirs = x_T
    for t in scheduler.timesteps:
        theirs = scheduler.step(v(theirs), t, theirs).prev_sample
    ours = sampler(
        lambda x_t, t: to_x0_eps(v(x_t), x_t, schedule.alpha_bar(t), Prediction.V), x_T, lambda step: torch.zeros(0)
    )

    assert sampler.timesteps == tuple(scheduler.timesteps.tolist())
    assert sampler.timesteps[0] == 999
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"num_train_timesteps": 500, "beta_start": 0.001, "beta_end": 0.01},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
    ],
    ids=str,
)
def test_every_accepted_scheduler_has_diffusers_process(tmp_path: Path, kind: str, arguments: dict[str, Any]) -> None:
    scheduler_class = getattr(pytest.importorskip("diffusers"), kind)
    if not arguments.keys() <= inspect.signature(scheduler_class).parameters.keys():
        pytest.skip(f"{kind} has no such argument")
    scheduler = scheduler_class(**arguments)
    scheduler.save_config(tmp_path)

    process = read_process(tmp_path / "scheduler_config.json")

    # diffusers multiplies in float32. Solvers in the logarithm of the signal have a tiny last one instead of zero.
    assert torch.allclose(
        build_schedule(process.schedule).alphas_cumprod, scheduler.alphas_cumprod.double(), rtol=0, atol=2e-6
    )
    assert str(process.prediction)[0] == arguments.get("prediction_type", "epsilon")[0]


@pytest.mark.parametrize("kind", CLASSES)
def test_what_a_scheduler_leaves_out_is_what_diffusers_takes(tmp_path: Path, kind: str) -> None:
    scheduler = getattr(pytest.importorskip("diffusers"), kind)()
    file = tmp_path / "scheduler_config.json"
    file.write_text(json.dumps({"_class_name": kind}), encoding="utf-8")

    spec = read_process(file).schedule

    assert torch.allclose(build_schedule(spec).alphas_cumprod, scheduler.alphas_cumprod.double(), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "kind",
    [
        "FlowMatchEulerDiscreteScheduler",
        "FlowMatchHeunDiscreteScheduler",
        "EDMEulerScheduler",
        "EDMDPMSolverMultistepScheduler",
        "CogVideoXDDIMScheduler",
        "LCMScheduler",
        "TCDScheduler",
        "ScoreSdeVeScheduler",
        "CMStochasticIterativeScheduler",
        "SomebodysScheduler",
        None,
        5,
        "\x1b[31m",
    ],
)
def test_a_scheduler_of_another_process_is_refused_by_its_class(tmp_path: Path, network: UNet, kind: object) -> None:
    folder = pipeline(tmp_path, network, {"_class_name": kind, "num_train_timesteps": 1000, "shift": 1.0})

    with pytest.raises(BadCheckpoint, match=r"scheduler_config\.json: is of the class") as refused:
        load_checkpoint(folder, "ddpm-unet")
    assert str(refused.value).isprintable()
    assert str(kind) in str(refused.value) or "\\x1b" in str(refused.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"trained_betas": [0.1, 0.2]},
        {"beta_schedule": "sigmoid"},
        {"beta_schedule": "laplace"},
        {"beta_start": 0.03},
        {"beta_start": -1},
        {"beta_end": 10**400},
        {"beta_end": float("nan")},
        {"beta_end": True},
        {"num_train_timesteps": 0},
        {"num_train_timesteps": 10**12},
        {"num_train_timesteps": 1000.0},
        {"prediction_type": "flow_prediction"},
        {"prediction_type": {}},
        {"predict_epsilon": False},
        {"variance_type": "learned"},
        {"variance_type": "learned_range"},
        {"thresholding": True},
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
        {"use_beta_sigmas": True},
        {"use_lu_lambdas": True},
        {"use_flow_sigmas": True},
        {"use_dynamic_shifting": True},
        {"sigma_min": 0.002},
        {"sigmas": [1.0, 0.5]},
        {"shift": 3.0},
        {"shift": True},
        {"flow_shift": 5.0},
        {"snr_shift_scale": 3.0},
        {"shift_terminal": 0.1},
        {"timestep_type": "continuous"},
        {"rescale_betas_zero_snr": "yes"},
        {"offset_noise": 0.1},
    ],
    ids=str,
)
def test_what_changes_the_process_and_is_not_known_is_refused_by_name(
    tmp_path: Path, network: UNet, changed: dict[str, object]
) -> None:
    folder = pipeline(tmp_path, network, {"_class_name": "DDPMScheduler", **changed})

    with pytest.raises(BadCheckpoint, match=next(iter(changed))) as refused:
        load_checkpoint(folder, "ddpm-unet")
    assert len(str(refused.value)) < 1000


def test_what_only_steps_back_through_the_process_is_the_samplers_and_noted(tmp_path: Path, network: UNet) -> None:
    config = {
        "_class_name": "DPMSolverMultistepScheduler",
        "solver_order": 3,
        "clip_sample": False,
        "timestep_spacing": "trailing",
        "steps_offset": 1,
    }

    denoiser = load_checkpoint(pipeline(tmp_path, network, config), "ddpm-unet")

    assert denoiser.schedule == ScheduleSpec()
    assert "its scheduler has clip_sample False, timestep_spacing 'trailing', steps_offset 1" in denoiser.weights.source


def test_the_tables_of_keys_do_not_overlap() -> None:
    from bench.models.checkpoints.diffusers_process import OFF

    assert not PROCESS & WALK and not (PROCESS | WALK) & OFF.keys()


def test_a_pipelines_own_word_for_its_scheduler_counts(tmp_path: Path, network: UNet) -> None:
    folder = pipeline(tmp_path, network, {"num_train_timesteps": 1000})
    index = folder / "model_index.json"
    index.write_text('{"scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}', encoding="utf-8")

    with pytest.raises(BadCheckpoint, match="of the class 'FlowMatchEulerDiscreteScheduler'"):
        load_checkpoint(folder, "ddpm-unet")
    shutil.rmtree(folder / "scheduler")
    with pytest.raises(
        BadCheckpoint, match="names the scheduler 'FlowMatchEulerDiscreteScheduler', which is not there"
    ):
        load_checkpoint(folder, "ddpm-unet")


def test_a_folder_without_a_scheduler_says_what_it_was_taken_for(tmp_path: Path, network: UNet) -> None:
    denoiser = load_checkpoint(pipeline(tmp_path, network, None), "ddpm-unet")

    assert "no scheduler beside it: taken for linear betas and predicted noise" in denoiser.weights.source


def test_the_file_in_a_folder_is_read_with_the_folders_config_and_scheduler(tmp_path: Path, network: UNet) -> None:
    folder = pipeline(tmp_path, network, {"_class_name": "FlowMatchEulerDiscreteScheduler"})

    with pytest.raises(BadCheckpoint, match="is of the class 'FlowMatchEulerDiscreteScheduler'"):
        load_checkpoint(folder / "unet" / f"{NAME}.safetensors", "ddpm-unet")


def test_a_key_of_the_network_that_is_not_known_is_refused_by_name(tmp_path: Path, network: UNet) -> None:
    export_diffusers(network, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "skip_time_act": True}), encoding="utf-8")

    with pytest.raises(BadCheckpoint, match="has the key 'skip_time_act' with the value True"):
        load_checkpoint(tmp_path, "ddpm-unet")


# --- the files ------------------------------------------------------------------------------------------------------


def split(folder: Path, *, pickled: bool = False, variant: str = "", index: str = "") -> None:
    """The one file of a folder as two shards and their index."""
    state = load_file(folder / f"{NAME}.safetensors")
    (folder / f"{NAME}.safetensors").unlink()
    names, kind = sorted(state), "bin" if pickled else "safetensors"
    base = f"{NAME}.{variant}" if variant else NAME
    shards = {
        f"{base}-00001-of-00002.{kind}": names[: len(names) // 2],
        f"{base}-00002-of-00002.{kind}": names[len(names) // 2 :],
    }
    for shard, held in shards.items():
        part = {name: state[name] for name in held}
        torch.save(part, folder / shard) if pickled else save_file(part, folder / shard)
    table = {name: shard for shard, held in shards.items() for name in held}
    content = json.dumps({"metadata": {"total_size": 1}, "weight_map": table})
    (folder / (index or f"{NAME}.{kind}.index.json")).write_text(content, encoding="utf-8")


@pytest.mark.parametrize("variant", ["fp16", "bf16", "my-own"])
@pytest.mark.parametrize("pickled", [False, True])
def test_a_variant_alone_is_loaded(tmp_path: Path, network: UNet, variant: str, pickled: bool) -> None:
    file = export_diffusers(network, tmp_path)
    if pickled:
        torch.save(load_file(file), tmp_path / f"{NAME}.{variant}.bin")
        file.unlink()
    else:
        file.rename(tmp_path / f"{NAME}.{variant}.safetensors")

    denoiser = load_checkpoint(tmp_path, "ddpm-unet")

    assert same(denoiser, network)
    assert f"the variant {variant}" in denoiser.weights.source


def test_a_half_precision_variant_has_its_own_numbers(tmp_path: Path, network: UNet) -> None:
    file = export_diffusers(network, tmp_path)
    halves = {name: tensor.half() for name, tensor in load_file(file).items()}
    save_file(halves, tmp_path / f"{NAME}.fp16.safetensors")
    file.unlink()

    denoiser = load_checkpoint(tmp_path, "ddpm-unet")

    torch.manual_seed(0)
    expected = UNet(SIZES)
    expected.load_state_dict({key: tensor.half().float() for key, tensor in network.state_dict().items()})
    assert same(denoiser, expected)


def test_the_file_without_a_variant_comes_first(tmp_path: Path, network: UNet) -> None:
    file = export_diffusers(network, tmp_path)
    save_file({name: tensor + 1 for name, tensor in load_file(file).items()}, tmp_path / f"{NAME}.fp16.safetensors")

    assert same(load_checkpoint(tmp_path, "ddpm-unet"), network)


def test_two_variants_and_nothing_else_are_refused_by_name(tmp_path: Path, network: UNet) -> None:
    file = export_diffusers(network, tmp_path)
    shutil.copy(file, tmp_path / f"{NAME}.fp16.safetensors")
    file.rename(tmp_path / f"{NAME}.bf16.safetensors")

    with pytest.raises(BadCheckpoint, match=r"variants .*bf16.* and .*fp16.*; name the file that is meant"):
        load_checkpoint(tmp_path, "ddpm-unet")
    assert same(load_checkpoint(tmp_path / f"{NAME}.fp16.safetensors", "ddpm-unet"), network)


def test_a_variant_of_raw_weights_says_so(tmp_path: Path, network: UNet) -> None:
    file = export_diffusers(network, tmp_path)
    raw = {name: tensor * 1.01 for name, tensor in load_file(file).items()}
    save_file(raw, tmp_path / f"{NAME}.non_ema.safetensors")

    averaged = load_checkpoint(tmp_path, "ddpm-unet")
    asked = load_checkpoint(tmp_path, "ddpm-unet", ema=False)

    assert same(averaged, network) and averaged.weights.ema
    assert not same(asked, network) and not asked.weights.ema
    file.unlink()
    with pytest.raises(BadCheckpoint, match="alone, not the moving average"):
        load_checkpoint(tmp_path, "ddpm-unet", ema=True)


def test_a_trainers_folder_gives_the_average_beside_the_raw_network(tmp_path: Path, network: UNet) -> None:
    torch.manual_seed(1)
    raw = UNet(SIZES)
    export_diffusers(raw, tmp_path / "unet")
    export_diffusers(network, tmp_path / "unet_ema")
    config = tmp_path / "unet_ema" / "config.json"
    noted = {**json.loads(config.read_text(encoding="utf-8")), "decay": 0.9999, "optimization_step": 500, "power": 0.75}
    config.write_text(json.dumps(noted), encoding="utf-8")

    averaged, asked = load_checkpoint(tmp_path, "ddpm-unet"), load_checkpoint(tmp_path, "ddpm-unet", ema=False)

    assert same(averaged, network) and averaged.weights.ema
    assert same(asked, raw) and not asked.weights.ema


@pytest.mark.parametrize("changed", [{"flip_sin_to_cos": True}, {"downsample_padding": 1}, {"norm_eps": 1e-5}], ids=str)
def test_a_suite_does_not_take_weights_of_a_network_that_only_has_its_shapes(
    tmp_path: Path, network: UNet, changed: dict[str, object]
) -> None:
    export_diffusers(network, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, **changed}), encoding="utf-8")

    with pytest.raises(BadCheckpoint, match=next(iter(changed))):
        load_weights(UNet(SIZES), str(tmp_path), shipped=None)
    with pytest.raises(BadCheckpoint, match=next(iter(changed))):
        load_weights(UNet(SIZES), str(tmp_path / f"{NAME}.safetensors"), shipped=None)


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize(
    ("variant", "index"),
    [
        ("", ""),
        ("fp16", f"{NAME}.{{kind}}.index.fp16.json"),
        ("fp16", f"{NAME}.{{kind}}.fp16.index.json"),
        ("fp16", f"{NAME}.fp16.{{kind}}.index.json"),
    ],
)
def test_a_folder_in_shards_gives_the_exact_numbers(
    tmp_path: Path, network: UNet, pickled: bool, variant: str, index: str
) -> None:
    export_diffusers(network, tmp_path)
    split(tmp_path, pickled=pickled, variant=variant, index=index.format(kind="bin" if pickled else "safetensors"))

    first, again = load_checkpoint(tmp_path, "ddpm-unet"), load_checkpoint(tmp_path, "ddpm-unet")

    assert same(first, network) and same(again, network)
    shards = sorted(path for path in tmp_path.iterdir() if "-of-" in path.name)
    lines = "".join(f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in shards)
    assert first.weights.sha256 == sha256(lines.encode()).hexdigest()
    assert set(shards) < set(first.inputs) and any(".index." in path.name for path in first.inputs)


def test_a_changed_shard_is_refused(tmp_path: Path, network: UNet) -> None:
    export_diffusers(network, tmp_path)
    split(tmp_path)
    load_checkpoint(tmp_path, "ddpm-unet")
    shard = tmp_path / f"{NAME}-00002-of-00002.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)

    with pytest.raises(BadCheckpoint, match="its passport says"):
        load_checkpoint(tmp_path, "ddpm-unet")


@pytest.mark.parametrize(
    ("index", "match"),
    [
        ({}, "has no weight_map"),
        ({"weight_map": []}, "has no weight_map"),
        ({"weight_map": {"a": 5}}, "names the shard"),
        ({"weight_map": {"a": "../outside.safetensors"}}, "names the shard '../outside.safetensors'"),
        ({"weight_map": {"a": "/etc/passwd"}}, "names the shard '/etc/passwd'"),
        ({"weight_map": {"a": "\x1b[31m.safetensors"}}, "names the shard"),
        ({"weight_map": {str(i): f"{i}.safetensors" for i in range(2000)}}, "2,000 shards; 1,000 are read"),
        ({"weight_map": {"a": "gone.safetensors"}}, "no such file"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_index_that_names_anything_else_is_refused(
    tmp_path: Path, network: UNet, index: dict[str, Any], match: str
) -> None:
    export_diffusers(network, tmp_path)
    split(tmp_path)
    (tmp_path / f"{NAME}.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")

    with pytest.raises((BadCheckpoint, MissingWeights), match=match) as refused:
        load_checkpoint(tmp_path, "ddpm-unet")
    assert str(refused.value).isprintable()


def test_a_tensor_in_another_shard_than_the_index_says_is_refused(tmp_path: Path, network: UNet) -> None:
    export_diffusers(network, tmp_path)
    split(tmp_path)
    index = tmp_path / f"{NAME}.safetensors.index.json"
    table = json.loads(index.read_text(encoding="utf-8"))
    name = next(iter(table["weight_map"]))
    table["weight_map"][name] = f"{NAME}-00002-of-00002.safetensors"
    index.write_text(json.dumps(table), encoding="utf-8")

    with pytest.raises(BadCheckpoint, match="does not hold the tensors that its index names"):
        load_checkpoint(tmp_path, "ddpm-unet")


def hub_cache(root: Path, network: UNet) -> Path:
    """The snapshot of a pipeline as huggingface_hub keeps it: relative links into `blobs`."""
    repository = root / "models--somebody--network"
    snapshot = repository / "snapshots" / "0123abcd"
    made = pipeline(root / "made", network, {"_class_name": "DDPMScheduler"})
    (repository / "blobs").mkdir(parents=True)
    for file in sorted(path for path in made.rglob("*") if path.is_file()):
        content = file.read_bytes()
        blob = repository / "blobs" / sha256(content).hexdigest()
        blob.write_bytes(content)
        link = snapshot / file.relative_to(made)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(*[".."] * (len(file.relative_to(made).parts) + 1), "blobs", blob.name))
    return snapshot


def test_a_hubs_cache_of_links_is_loaded(tmp_path: Path, network: UNet) -> None:
    snapshot = hub_cache(tmp_path, network)

    denoiser = load_checkpoint(snapshot, "ddpm-unet")

    weights = snapshot / "unet" / f"{NAME}.safetensors"
    assert weights.is_symlink()
    assert same(denoiser, network)
    assert denoiser.weights.sha256 == weights.resolve().name
    assert denoiser.inputs[0] == weights
    assert same(load_checkpoint(snapshot.parents[1], "ddpm-unet"), network)


def test_a_link_that_leaves_the_hubs_cache_is_refused(tmp_path: Path, network: UNet) -> None:
    snapshot = hub_cache(tmp_path, network)
    weights = snapshot / "unet" / f"{NAME}.safetensors"
    shutil.copy(weights.resolve(), tmp_path / "outside.safetensors")
    weights.unlink()
    weights.symlink_to(tmp_path / "outside.safetensors")

    with pytest.raises(BadCheckpoint, match="a symbolic link that leads out of models--somebody--network"):
        load_checkpoint(snapshot, "ddpm-unet")


def test_a_cache_that_is_itself_a_link_opens_nothing(tmp_path: Path, network: UNet) -> None:
    snapshot = hub_cache(tmp_path / "real", network)
    (tmp_path / "models--x").symlink_to(snapshot.parents[1])
    shutil.copy(snapshot / "unet" / f"{NAME}.safetensors", tmp_path / "real" / "outside.safetensors")
    (snapshot / "unet" / f"{NAME}.safetensors").unlink()
    (snapshot / "unet" / f"{NAME}.safetensors").symlink_to(tmp_path / "real" / "outside.safetensors")

    with pytest.raises(BadCheckpoint, match="symbolic link"):
        load_checkpoint(tmp_path / "models--x" / "snapshots" / "0123abcd", "ddpm-unet")


def test_a_link_to_a_download_that_is_gone_says_so(tmp_path: Path, network: UNet) -> None:
    snapshot = hub_cache(tmp_path, network)
    (snapshot / "scheduler" / "scheduler_config.json").resolve().unlink()

    with pytest.raises(
        MissingWeights, match=r"scheduler_config\.json: is a link to a file that is not there; download"
    ):
        load_checkpoint(snapshot, "ddpm-unet")


def test_a_link_elsewhere_is_refused_as_before(tmp_path: Path, network: UNet) -> None:
    export_diffusers(network, tmp_path / "net")
    file = tmp_path / "net" / f"{NAME}.safetensors"
    file.rename(tmp_path / "weights")
    file.symlink_to("../weights")

    with pytest.raises(BadCheckpoint, match="is a symbolic link; give the path of the file itself"):
        load_checkpoint(tmp_path / "net", "ddpm-unet")


# --- what a config may cost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"block_out_channels": [4096, 8192]},
        {"block_out_channels": [65536, 65536]},
        {"block_out_channels": [2, 4]},
        {"block_out_channels": [7, 14]},
        {"layers_per_block": 65536},
        {"layers_per_block": 32},
        {"in_channels": 65536, "out_channels": 65536},
        {"norm_num_groups": 0},
        {"attention_head_dim": [1]},
        {"down_block_types": ["\x1b[31m", "x" * 100_000]},
        {"sample_size": 10**4000},
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_config_costs_nothing_that_the_file_does_not_hold(
    tmp_path: Path, network: UNet, changed: dict[str, object]
) -> None:
    export_diffusers(network, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, **changed}), encoding="utf-8")
    before = peak_bytes()

    with pytest.raises(BadCheckpoint) as refused:
        load_checkpoint(tmp_path, "ddpm-unet")

    assert peak_bytes() - before < 256 << 20
    assert str(refused.value).isprintable() and len(str(refused.value)) < 1500


def test_a_config_of_giant_images_is_loaded_without_calling_the_network(tmp_path: Path, network: UNet) -> None:
    export_diffusers(network, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "sample_size": 65536}), encoding="utf-8")

    assert load_checkpoint(tmp_path, "ddpm-unet").image_shape == (1, 65536, 65536)


def peak_bytes() -> int:
    """VmHWM of this process; 0 where there is no /proc."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
