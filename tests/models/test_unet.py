"""The DDPM U-Net and its level-skipping form, against the exact figures of the published network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.errors import ParamError
from bench.measure.macs import count_macs
from bench.models.skip_schedule import num_skipped_levels, skip_boundaries, skip_table
from bench.models.skip_unet import Skip, SkipUNet
from bench.models.unet import UNet, UNetSizes

TINY = UNetSizes(image_size=16, in_channels=1, base_channels=8, norm_groups=4, dropout=0.0)
SKIPS: tuple[Skip, ...] = ("zero", "duplicate", "interpolate", "interpolate-coded")

PUBLISHED_MACS = {
    "zero": (6_239_035_392, 6_019_497_984, 5_313_069_056, 2_248_933_376),
    "duplicate": (6_239_035_392, 6_019_497_984, 5_313_069_056, 2_248_933_376),
    "interpolate-coded": (6_239_035_392, 6_190_039_040, 6_019_612_672, 5_476_974_592),
    # As written, the middle block costs the same at every depth.
    "interpolate": (6_239_035_392, 6_061_936_640, 5_355_507_712, 2_291_372_032),
}
"""At batch 1 and 3x32x32, for k = 0, 1, 2, 3. The first three rows are the published network's 6.2390 G, 6.0195 G,
5.3131 G and 2.2489 G, and 6.1900 G, 6.0196 G and 5.4770 G as coded, all by fvcore's counting."""


class AtDepth(nn.Module):
    """One depth of a skipping network as a network of its own, for counters."""

    def __init__(self, network: SkipUNet, num_skipped: int) -> None:
        super().__init__()
        self.network, self.num_skipped = network, num_skipped

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.network.at_depth(x_t, t, self.num_skipped)


def seeded(skip: Skip, skip_exponent: float = 2.0, sizes: UNetSizes = TINY) -> SkipUNet:
    torch.manual_seed(0)
    return SkipUNet(sizes, skip, skip_exponent).eval()


def images(batch: int, sizes: UNetSizes = TINY) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, sizes.in_channels, sizes.image_size, sizes.image_size, generator=generator)


@pytest.fixture(scope="module")
def cifar10() -> UNet:
    return UNet(UNetSizes())


def test_the_cifar10_network_has_the_published_parameters_and_tensors(cifar10: UNet) -> None:
    assert sum(parameter.numel() for parameter in cifar10.parameters()) == 35_746_307
    assert len(cifar10.state_dict()) == 328


def test_its_keys_are_those_of_public_checkpoints(cifar10: UNet) -> None:
    keys = set(cifar10.state_dict())

    for key in (
        "temb.dense.1.weight",
        "down.1.attn.0.q.weight",
        "down.2.downsample.conv.bias",
        "mid.attn_1.proj_out.weight",
        "up.3.block.0.nin_shortcut.weight",
        "up.1.upsample.conv.weight",
        "norm_out.bias",
        "conv_out.weight",
    ):
        assert key in keys


@pytest.mark.parametrize("skip", SKIPS)
def test_macs_at_every_depth_are_the_published_ones(skip: Skip, cifar10: UNet) -> None:
    network = SkipUNet(UNetSizes(), skip, 2.0).eval()
    network.load_state_dict(cifar10.state_dict())
    x_t, t = images(1, UNetSizes()), torch.zeros(1, dtype=torch.int64)

    # At k = 0 the four are one network.
    for num_skipped in range(0 if skip == "zero" else 1, 4):
        (count,) = count_macs(AtDepth(network, num_skipped), x_t, t, ["fvcore"])
        assert count.macs == PUBLISHED_MACS[skip][num_skipped]


@pytest.mark.parametrize(
    ("skip_exponent", "boundaries", "counts"),
    [
        (0, (1000, 1000, 1000), (1000, 0, 0, 0)),
        (1, (250, 500, 750), (250, 250, 250, 250)),
        (2, (134, 293, 500), (134, 159, 207, 500)),
        (3, (92, 207, 371), (92, 115, 164, 629)),
        (5, (56, 130, 243), (56, 74, 113, 757)),
    ],
)
def test_k_of_t_changes_where_the_paper_has_it(
    skip_exponent: int, boundaries: tuple[int, ...], counts: tuple[int, ...]
) -> None:
    table = skip_table(4, skip_exponent)

    assert skip_boundaries(4, skip_exponent) == boundaries
    assert tuple(table.count(k) for k in range(4)) == counts


@pytest.mark.parametrize("num_levels", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("skip_exponent", [0, 0.5, 1, 1.5, 2, 7])
def test_k_of_t_never_falls_and_always_leaves_a_level(num_levels: int, skip_exponent: float) -> None:
    table = skip_table(num_levels, skip_exponent, 250)

    assert table[0] == 0
    assert list(table) == sorted(table)
    assert max(table) <= num_levels - 1


def test_a_timestep_outside_the_chain_is_refused() -> None:
    with pytest.raises(ParamError, match=r"timestep 1000 is outside 0\.\.999"):
        num_skipped_levels(1000, num_levels=4, skip_exponent=2)


@pytest.mark.parametrize("skip", SKIPS)
def test_exponent_zero_is_the_plain_network_bit_for_bit(skip: Skip) -> None:
    network = seeded(skip, skip_exponent=0)
    plain = UNet(TINY).eval()
    plain.load_state_dict(network.state_dict())
    x_t, t = images(3), torch.tensor([0, 500, 999])

    with torch.inference_mode():
        assert torch.equal(network(x_t, t), plain(x_t, t))


@pytest.mark.parametrize("skip", SKIPS)
def test_a_batch_of_mixed_depths_gives_each_image_its_own_depth(skip: Skip) -> None:
    network = seeded(skip)
    x_t, t = images(4), torch.tensor([10, 200, 400, 900])

    with torch.inference_mode():
        together = network(x_t, t)
        alone = torch.cat([network(x_t[i : i + 1], t[i : i + 1]) for i in range(4)])

    assert [network.num_skipped_levels(int(step)) for step in t] == [0, 1, 2, 3]
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("skip", SKIPS)
def test_skipped_levels_do_not_influence_the_output(skip: Skip) -> None:
    network = seeded(skip)
    x_t, t = images(2), torch.tensor([900, 900])
    with torch.inference_mode():
        before = network(x_t, t)
        for level in (1, 2, 3):
            for side in (network.down, network.up):
                for parameter in side[level].parameters():
                    parameter.add_(1.0)
        after = network(x_t, t)

    assert torch.equal(before, after)


def test_the_middle_block_runs_only_where_the_kind_of_skip_says_so() -> None:
    calls: dict[str, list[tuple[int, ...]]] = {}
    for skip in SKIPS:
        network, seen = seeded(skip), calls.setdefault(skip, [])
        network.mid.register_forward_hook(lambda module, args, out, seen=seen: seen.append(tuple(args[0].shape[1:])))
        with torch.inference_mode():
            for num_skipped in range(4):
                network.at_depth(images(1), torch.tensor([0]), num_skipped)

    assert calls["zero"] == calls["duplicate"] == [(16, 2, 2)]
    assert calls["interpolate"] == [(16, 2, 2)] * 4
    assert calls["interpolate-coded"] == [(16, 2, 2), (16, 4, 4), (16, 8, 8), (16, 16, 16)]


def test_duplicate_feeds_the_same_map_twice_and_zero_feeds_zeros() -> None:
    h = torch.randn(1, 16, 4, 4)
    temb = torch.zeros(1, 32)

    assert torch.equal(seeded("duplicate").cross(h, temb, 3), h)
    assert torch.equal(seeded("duplicate").cross(h[:, :8], temb, 1), torch.cat([h[:, :8], h[:, :8]], dim=1))
    assert not seeded("zero").cross(h, temb, 3).any()


def test_interpolating_refuses_levels_of_another_width_than_the_middle() -> None:
    sizes = UNetSizes(image_size=16, base_channels=8, norm_groups=4, channel_multipliers=(1, 2, 4))

    with pytest.raises(ParamError, match="must be as wide as the middle"):
        SkipUNet(sizes, "interpolate", 2.0)
    SkipUNet(sizes, "duplicate", 2.0)


def test_sizes_that_cannot_work_are_refused_with_a_sentence() -> None:
    with pytest.raises(ParamError, match="cannot be halved 3 times; use a multiple of 8"):
        UNetSizes(image_size=28)
    with pytest.raises(ParamError, match="not a multiple of norm_groups"):
        UNetSizes(base_channels=100)
    with pytest.raises(ParamError, match="do not exist"):
        UNetSizes(attention_levels=(7,))


@pytest.mark.parametrize("num_levels", [1, 2, 3])
def test_any_number_of_levels_works(num_levels: int) -> None:
    sizes = UNetSizes(16, 2, 8, channel_multipliers=(1, 2, 2)[:num_levels], attention_levels=(), norm_groups=4)
    network = SkipUNet(sizes, "interpolate", 1.0).eval()

    with torch.inference_mode():
        for num_skipped in range(num_levels):
            assert network.at_depth(images(2, sizes), torch.tensor([5, 5]), num_skipped).shape == (2, 2, 16, 16)


def test_casting_the_network_leaves_the_angles_of_the_time_embedding_alone() -> None:
    """In bfloat16 the frequencies would move the angle at t = 999 by more than a radian."""
    network = seeded("zero")
    exact = network.temb.frequencies.clone()

    assert torch.equal(network.to(torch.bfloat16).temb.frequencies, exact)
    assert network(images(1).bfloat16(), torch.tensor([999])).dtype == torch.bfloat16
