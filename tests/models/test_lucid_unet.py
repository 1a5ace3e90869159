"""Paper B's baseline U-Net, against its published figures and, where it is installed, the public implementation."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch
from torch import Tensor

from bench.errors import ParamError
from bench.measure.module_counter import count_modules
from bench.models.lucid_unet import LucidSizes, LucidUNet
from bench.models.time_embedding import Sinusoid

TINY = LucidSizes(image_size=16, channels=1, width=8, depth=3)


def seeded(sizes: LucidSizes = TINY) -> LucidUNet:
    torch.manual_seed(0)
    return LucidUNet(sizes).eval()


def images(batch: int, sizes: LucidSizes = TINY) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, sizes.channels, sizes.image_size, sizes.image_size, generator=generator)


def test_the_paper_network_has_the_published_parameters_tensors_and_macs() -> None:
    network = seeded(LucidSizes())

    assert sum(parameter.numel() for parameter in network.parameters()) == 35_710_339
    assert len(network.state_dict()) == 274
    assert count_modules(network, images(1, LucidSizes()), torch.tensor([0])) == 7_206_256_640


def test_state_dict_keys_are_those_of_the_1_8_releases() -> None:
    keys = set(LucidUNet(LucidSizes()).state_dict())

    assert {
        "init_conv.weight", "time_mlp.1.weight", "time_mlp.3.bias", "downs.0.0.mlp.1.weight",
        "downs.0.1.block2.proj.weight", "downs.0.2.norm.g", "downs.0.2.to_out.1.g", "downs.0.3.1.weight",
        "downs.3.2.to_qkv.weight", "downs.3.2.to_out.bias", "downs.3.3.weight", "mid_attn.norm.g",
        "ups.0.0.res_conv.weight", "ups.0.3.1.weight", "ups.3.3.weight", "final_res_block.block1.norm.bias",
        "final_conv.weight",
    } <= keys  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # the public package and what it imports warn about themselves
def test_outputs_are_those_of_the_public_implementation() -> None:
    try:
        found = version("denoising-diffusion-pytorch")
    except PackageNotFoundError:
        pytest.skip("needs denoising-diffusion-pytorch 1.8, an oracle that is not a dependency")
    if not found.startswith("1.8."):
        pytest.skip(f"denoising-diffusion-pytorch {found} is another network; this one is that of 1.8")
    public = import_module("denoising_diffusion_pytorch.denoising_diffusion_pytorch")
    theirs = public.Unet(dim=16, dim_mults=(1, 2, 4, 8), channels=1).eval()
    ours = LucidUNet(LucidSizes(image_size=16, channels=1, width=16, depth=4)).eval()
    ours.load_state_dict(theirs.state_dict())
    x_t, t = torch.randn(3, 1, 16, 16), torch.tensor([0, 500, 999])

    with torch.no_grad():
        torch.testing.assert_close(ours(x_t, t), theirs(x_t, t), rtol=0, atol=1e-5)


def test_every_image_of_a_batch_is_computed_at_its_own_timestep() -> None:
    network, x_t, t = seeded(), images(3), torch.tensor([0, 500, 999])

    with torch.no_grad():
        together = network(x_t, t)
        alone = torch.cat([network(x_t[i : i + 1], t[i : i + 1]) for i in range(3)])

    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert (together[:1] - network(x_t[:1], t[2:])).abs().max() > 1e-3


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 16, 16), (3, 64, 64), (2, 32, 48)])
def test_any_channels_and_any_sides_that_halve_are_taken(channels: int, height: int, width: int) -> None:
    network = seeded(LucidSizes(image_size=16, channels=channels, width=8, depth=3))
    x_t = torch.zeros(1, channels, height, width)

    with torch.no_grad():
        assert network(x_t, torch.tensor([5])).shape == x_t.shape


def test_sides_that_do_not_halve_are_refused_with_a_sentence() -> None:
    with pytest.raises(ParamError, match="a 28x28 image cannot be halved 3 times; use sides that are multiples of 8"):
        LucidSizes(image_size=28)
    with pytest.raises(ValueError, match="a 16x18 image cannot be halved 2 times"):
        seeded()(torch.zeros(1, 1, 16, 18), torch.tensor([0]))


def test_a_width_that_the_norms_cannot_group_is_refused() -> None:
    with pytest.raises(ParamError, match="width must be a multiple of 8, the groups of its norms; got 12"):
        LucidSizes(width=12)
    with pytest.raises(ParamError, match="depth must be at least 1, got 0"):
        LucidSizes(depth=0)


def test_casting_the_network_leaves_the_angles_of_late_timesteps_alone() -> None:
    embedding, t = Sinusoid(8), torch.tensor([999])

    torch.testing.assert_close(embedding.bfloat16()(t), Sinusoid(8)(t), rtol=0, atol=0)
    with torch.no_grad():
        assert seeded().bfloat16()(images(1).bfloat16(), t).dtype == torch.bfloat16
