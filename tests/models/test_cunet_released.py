"""The continuous U-Net as released: its published figures, and what it does that its description does not say."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import ParamError
from bench.measure.module_counter import count_modules
from bench.models.cunet_released import ReleasedCUNet, ReleasedField, ReleasedSizes, time_table
from bench.models.instance_norm import normalise
from bench.models.ode import OdeBlock, OdeSolver

TINY = ReleasedSizes(image_size=16, channels=1, width=4, depth=3)
NOW = torch.tensor([0])

PUBLISHED_PARAMETERS = {
    ("two", "residual"): 8_811_875,
    ("five", "residual"): 9_140_835,
    ("none", "residual"): 8_548_707,
    ("two", "no-residual-released"): 6_138_083,
    ("none", "no-residual-released"): 5_874_915,
    # Dropping the residual alone drops no parameter.
    ("two", "no-residual"): 8_811_875,
    ("none", "no-residual"): 8_548_707,
}
PUBLISHED_MACS = {
    ("two", "residual"): 2_830_983_168,
    ("five", "residual"): 2_902_286_336,
    # Not printed by anyone; what the counter of the two above gives.
    ("none", "residual"): 2_814_205_952,
    ("two", "no-residual-released"): 1_623_836_672,
    ("five", "no-residual-released"): 1_695_139_840,
    ("none", "no-residual-released"): 1_607_059_456,
}


def seeded(sizes: ReleasedSizes = TINY, solver: OdeSolver | None = None) -> ReleasedCUNet:
    torch.manual_seed(0)
    return ReleasedCUNet(sizes, solver).eval()


def images(batch: int, channels: int = 1, side: int = 16) -> Tensor:
    return torch.randn(batch, channels, side, side, generator=torch.Generator().manual_seed(1))


def variant(attention: str, blocks: str) -> ReleasedSizes:
    return ReleasedSizes(attention=attention, blocks=blocks)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "count"), list(PUBLISHED_PARAMETERS.items()))
def test_parameters_are_the_published_ones(name: tuple[str, str], count: int) -> None:
    assert sum(each.numel() for each in ReleasedCUNet(variant(*name)).parameters()) == count


@pytest.mark.parametrize(("name", "count"), list(PUBLISHED_MACS.items()))
def test_macs_module_by_module_are_the_published_ones(name: tuple[str, str], count: int) -> None:
    assert count_modules(seeded(variant(*name)), images(1, 3, 64), NOW) == count


def test_the_group_norm_variant_has_its_affine_tensors() -> None:
    network = ReleasedCUNet(ReleasedSizes(norm="group", attention="five"))

    assert sum(each.numel() for each in network.parameters()) == 9_140_835 + 5_888
    assert {"odeblock_up4.odefunc.norm2.bias", "attention_bottleneck.to_out.bias"} <= set(network.state_dict())


def test_the_state_dict_has_the_public_names() -> None:
    ends = {"down1", "down2", "down3", "down4", "embedding", "up1", "up2", "up3", "up4"}
    convolutions = {f"odeblock_{end}.odefunc.conv{i}" for end in ends for i in (1, 2)}
    convolutions |= {f"initial_velocity.conv{i}" for i in (1, 2)} | {"classifier"}
    convolutions |= {
        f"conv_{name}"
        for name in ("down1_2", "down2_3", "down3_4", "down4_embed", "up_embed_1", "up1_2", "up2_3", "up3_4")
    }
    attention = {
        f"attention_{place}.{name}"
        for place in ("encoder4", "decoder1")
        for name in ("norm.g", "to_qkv.weight", "to_out.weight", "to_out.bias")
    }
    expected = {f"{name}.{part}" for name in convolutions for part in ("weight", "bias")} | attention

    found = set(ReleasedCUNet(ReleasedSizes()).state_dict())

    assert found == expected | {"time_embed.weight"}
    assert len(found) == 67


def test_the_time_table_is_frozen_and_counted() -> None:
    network = ReleasedCUNet(ReleasedSizes())

    assert sum(each.numel() for each in network.parameters() if each.requires_grad) == 8_811_875 - 256_000
    assert not network.time_embed.weight.requires_grad


def test_the_time_table_steps_through_the_frequencies_twice_as_fast_as_usual() -> None:
    table = time_table(1000, 8)

    angles = torch.tensor([999 * 10_000.0 ** (-pair / 2) for pair in range(4)])
    torch.testing.assert_close(table[999, 0::2], angles.sin(), rtol=0, atol=1e-4)
    torch.testing.assert_close(table[999, 1::2], angles.cos(), rtol=0, atol=1e-4)


def test_the_output_does_not_depend_on_the_timestep() -> None:
    network, x_t = seeded(), images(2)

    with torch.no_grad():
        early, late = network(x_t, torch.tensor([0, 0])), network(x_t, torch.tensor([999, 500]))

    assert torch.equal(early, late)


def test_the_older_network_behind_the_no_resblocks_rows_does_depend_on_the_timestep() -> None:
    network, x_t = seeded(ReleasedSizes(16, 1, 4, 3, blocks="no-residual-released")), images(1)

    with torch.no_grad():
        assert (network(x_t, NOW) - network(x_t, torch.tensor([999]))).abs().max() > 1e-3


def test_the_input_norm_hides_colour_and_noise_scale_from_the_network() -> None:
    network, x_t = seeded(ReleasedSizes(16, 3, 4, 3)), images(1, 3)
    gain, offset = torch.tensor([0.5, 2.0, 7.0]).reshape(1, 3, 1, 1), torch.tensor([3.0, 0.0, -1.0]).reshape(1, 3, 1, 1)

    with torch.no_grad():
        difference = network(x_t * gain + offset, NOW) - network(x_t, NOW)

    assert difference.abs().max() < 1e-3


def test_every_block_takes_four_evaluations() -> None:
    network = seeded(ReleasedSizes())
    with torch.no_grad():
        network(images(1, 3, 64), NOW)

    counts = [module.ode_nfe for module in network.modules() if hasattr(module, "ode_nfe")]

    assert counts == [4] * 9


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(1, 8, 4, 4), (2, 12, 16, 16), (1, 8, 32, 32), (3, 5, 40, 40)])
def test_quick_instance_norms_are_the_module(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    # A mean that is large against the spread would show a one-pass variance.
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(2)) + 30).to(memory_format=layout)
    norm = nn.InstanceNorm2d(shape[1])

    with torch.no_grad():
        plain = normalise(norm, x)
    with torch.inference_mode():
        quick = normalise(norm, x)

    assert torch.equal(plain, norm(x))
    torch.testing.assert_close(quick, plain, rtol=0, atol=2e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_inference_mode_changes_the_output_by_rounding_only(layout: torch.memory_format) -> None:
    network, x_t = seeded(ReleasedSizes(32, 3, 4, 3)), images(2, 3, 32)
    with torch.no_grad():
        plain = network(x_t, torch.tensor([0, 0]))

    network.to(memory_format=layout)
    with torch.inference_mode():
        quick = network(x_t.to(memory_format=layout), torch.tensor([0, 0]))

    torch.testing.assert_close(quick, plain, rtol=0, atol=1e-5 * float(plain.abs().max()))


def test_the_vector_field_is_as_published() -> None:
    field, x = ReleasedField(4, TINY).double(), images(1, 4, 8).double()

    with torch.no_grad():
        found = field(0.7, x)
        inner = F.softplus(field.conv1(F.instance_norm(x)))
        expected = x + F.softplus(field.conv2(F.instance_norm(inner)))

    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("blocks", ["no-residual", "no-residual-released"])
def test_without_the_residual_the_field_is_positive_everywhere(blocks: str) -> None:
    sizes = ReleasedSizes(16, 1, 4, 3, blocks=blocks)  # type: ignore[arg-type]
    with torch.no_grad():
        assert (ReleasedField(4, sizes)(0.0, images(1, 4, 8)) > 0).all()


def test_a_coarser_solver_is_another_network_on_the_same_weights() -> None:
    fine = seeded()
    coarse = seeded(solver=OdeSolver("euler"))
    coarse.load_state_dict(fine.state_dict())

    with torch.no_grad():
        assert (fine(images(1), NOW) - coarse(images(1), NOW)).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("attention", "blocks", "norm"),
    list(product(["two", "five", "none"], ["residual", "no-residual", "no-residual-released"], ["instance", "group"])),
)
def test_every_variant_runs_and_learns(attention: str, blocks: str, norm: str) -> None:
    sizes = ReleasedSizes(16, 1, 4, 4, attention, norm, blocks)  # type: ignore[arg-type]
    network = seeded(sizes).train()

    network(images(2), torch.tensor([3, 700])).square().mean().backward()

    idle = {name for name, each in network.named_parameters() if each.grad is None}
    assert idle == {"time_embed.weight"}


def test_every_image_of_a_batch_is_computed_alone() -> None:
    network, x_t = seeded(), images(3)

    with torch.inference_mode():
        together = network(x_t, torch.tensor([1, 2, 3]))
        alone = torch.cat([network(x_t[i : i + 1], torch.tensor([i])) for i in range(3)])

    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_it_compiles_whole() -> None:
    network = seeded(ReleasedSizes(16, 1, 2, 2))
    compiled = torch.compile(network, backend="eager", fullgraph=True)

    with torch.inference_mode():
        torch.testing.assert_close(compiled(images(1), NOW), network(images(1), NOW), rtol=0, atol=1e-4)
        block = network.odeblock_down1
        assert isinstance(block, OdeBlock)
        block.ode_nfe = 0
        compiled(images(1), NOW)
    # Counting inside compiled code would mean compiling again at every count.
    assert block.ode_nfe == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image_size": 28}, "a 28x28 image cannot be halved 4 times; use sides that are multiples of 16"),
        ({"image_size": 16}, "is 1x1 after 4 halvings, and an instance norm there needs at least 2 pixels a side"),
        ({"attention": "four"}, "attention: expected one of two, five, none, got 'four'"),
        ({"attention": "five", "depth": 3}, "depth must be at least 4 with attention 'five', got 3"),
        ({"depth": 1}, "depth must be at least 2 with attention 'two', got 1"),
        ({"norm": "group", "width": 6}, "a multiple of 4 with norm 'group'; got 6"),
    ],
)
def test_impossible_sizes_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ParamError, match=said):
        ReleasedSizes(**wrong)  # type: ignore[arg-type]


def test_an_image_it_cannot_halve_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="a 16x30 image cannot be halved 2 times"):
        seeded()(torch.zeros(1, 1, 16, 30), NOW)
