"""The continuous U-Net as described: second-order dynamics, both times, the adjoint, and what its sizes allow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.errors import ParamError
from bench.measure.module_counter import count_modules
from bench.models.cunet import Acceleration, CUNet, CUNetSizes, DynamicBlock
from bench.models.ode import OdeSolver

TINY = CUNetSizes(image_size=16, channels=1, width=8, depth=3)
SHALLOW = CUNetSizes(image_size=8, channels=1, width=8, depth=2, attention="none")


def seeded(sizes: CUNetSizes = TINY, solver: OdeSolver | None = None) -> CUNet:
    torch.manual_seed(0)
    return CUNet(sizes, solver).eval()


def block(solver: OdeSolver | None = None, residual: bool = True) -> DynamicBlock:
    torch.manual_seed(0)
    return DynamicBlock(8, 16, residual, solver or OdeSolver()).double()


def images(batch: int, channels: int = 1, side: int = 16) -> Tensor:
    return torch.randn(batch, channels, side, side, generator=torch.Generator().manual_seed(1))


def parameters(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


def test_the_paper_network_has_the_paper_size_with_every_described_part() -> None:
    # The text says 8.8M; the released network reaches that without time embeddings or initial velocities.
    assert parameters(CUNet(CUNetSizes())) == 8_810_579
    assert parameters(CUNet(CUNetSizes(attention="five"))) == 8_975_059
    assert parameters(CUNet(CUNetSizes(attention="none"))) == 8_678_995
    assert parameters(CUNet(CUNetSizes(residual=False))) == 8_591_731


def test_macs_of_the_paper_network_module_by_module() -> None:
    assert count_modules(seeded(CUNetSizes()), images(1, 3, 64), torch.tensor([0])) == 2_281_897_984


def test_without_acceleration_a_block_moves_at_its_initial_velocity() -> None:
    moving, x, temb = block(residual=False), images(2, 8, 4).double(), torch.zeros(2, 16).double()
    field = moving.ode.odefunc
    assert isinstance(field, Acceleration)
    nn.init.zeros_(field.conv2.weight)
    nn.init.zeros_(field.conv2.bias)  # type: ignore[arg-type]

    with torch.no_grad():
        torch.testing.assert_close(moving(x, temb), x + moving.initial_velocity(x))


@pytest.mark.parametrize("steps", [1, 3])
def test_under_constant_acceleration_a_block_falls_like_a_stone(steps: int) -> None:
    moving, x, temb = block(OdeSolver(steps=steps), residual=False), images(2, 8, 4).double(), torch.zeros(2, 16)
    field = moving.ode.odefunc
    assert isinstance(field, Acceleration)
    nn.init.zeros_(field.conv2.weight)
    nn.init.constant_(field.conv2.bias, 3.0)  # type: ignore[arg-type]

    with torch.no_grad():
        torch.testing.assert_close(moving(x, temb.double()), x + moving.initial_velocity(x) + 3.0 / 2)


def test_with_the_residual_alone_a_block_is_an_oscillator() -> None:
    moving, x, temb = block(OdeSolver("rk4", steps=50)), images(1, 8, 4).double(), torch.zeros(1, 16).double()
    field = moving.ode.odefunc
    assert isinstance(field, Acceleration) and field.res_conv is not None
    for convolution in (field.conv2, field.res_conv):
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        field.res_conv.weight[:, :8, 0, 0] = -4 * torch.eye(8)  # x'' = -4 x
        moved, velocity = moving(x, temb), moving.initial_velocity(x)

    angle = torch.tensor(2.0, dtype=torch.float64)
    torch.testing.assert_close(moved, x * angle.cos() + velocity * angle.sin() / 2, rtol=0, atol=1e-6)


def test_acceleration_depends_on_position_velocity_and_both_times() -> None:
    field, state = Acceleration(8, residual=False).double(), images(1, 16, 4).double()
    scale, shift = torch.zeros(1, 16, 1, 1).double(), torch.zeros(1, 16, 1, 1).double()

    def acceleration(**changed: Tensor | float) -> Tensor:
        given = {"t": 0.0, "state": state, "scale": scale, "shift": shift, **changed}
        with torch.no_grad():
            out: Tensor = field(**given)
        return out[:, 8:]

    pushed = torch.zeros_like(state)
    pushed[:, :8, 0, 0] = 1.0
    speeded = torch.zeros_like(state)
    speeded[:, 8:, 0, 0] = 1.0
    still = acceleration()
    for other in (
        acceleration(t=0.5),
        acceleration(state=state + pushed),
        acceleration(state=state + speeded),
        acceleration(scale=scale + 0.5),
        acceleration(shift=shift + 0.5),
    ):
        assert (other - still).abs().max() > 1e-4


def test_the_rate_of_position_is_the_velocity() -> None:
    field, state = Acceleration(8, residual=True), images(1, 16, 4)
    with torch.no_grad():
        rate = field(0.0, state, torch.zeros(1, 16, 1, 1), torch.zeros(1, 16, 1, 1))

    assert torch.equal(rate[:, :8], state[:, 8:])


def test_the_output_depends_on_the_timestep_of_each_image() -> None:
    network, x_t, t = seeded(), images(3), torch.tensor([0, 500, 999])

    with torch.no_grad():
        together = network(x_t, t)
        alone = torch.cat([network(x_t[i : i + 1], t[i : i + 1]) for i in range(3)])
        elsewhere = network(x_t, t.flip(0))

    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert (together[0] - elsewhere[0]).abs().max() > 1e-3


def test_an_adaptive_solver_keeps_the_images_of_a_batch_apart() -> None:
    network, x_t, t = seeded(SHALLOW, OdeSolver("bosh3", tolerance=1e-2)), images(2, 1, 8), torch.tensor([0, 999])
    x_t[1] *= 20

    with torch.no_grad():
        together = network(x_t, t)
        alone = torch.cat([network(x_t[i : i + 1], t[i : i + 1]) for i in range(2)])

    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5 * float(alone.abs().max()))


@pytest.mark.parametrize(("solver", "evaluations"), [("euler", 1), ("midpoint", 2), ("heun3", 3), ("rk4", 4)])
def test_evaluations_are_counted_block_by_block(solver: str, evaluations: int) -> None:
    network = seeded(TINY, OdeSolver(solver, steps=2))
    with torch.no_grad():
        network(images(1), torch.tensor([7]))

    counts = [module.ode_nfe for module in network.modules() if hasattr(module, "ode_nfe")]

    assert counts == [2 * evaluations] * (2 * TINY.depth - 1)


def gradients(network: CUNet) -> list[Tensor]:
    network(images(2, 1, 8).double(), torch.tensor([10, 900])).square().sum().backward()
    return [each.grad for each in network.parameters() if each.grad is not None]


def test_adjoint_gradients_approach_those_of_backpropagation_as_the_steps_get_finer() -> None:
    def error(steps: int) -> float:
        plain = seeded(SHALLOW, OdeSolver("rk4", steps)).double()
        adjoint = seeded(SHALLOW, OdeSolver("rk4", steps, adjoint=True)).double()
        found, expected = gradients(adjoint), gradients(plain)
        assert len(found) == len(expected) == len(list(plain.parameters()))
        gap = sum((a - b).square().sum() for a, b in zip(found, expected, strict=True))
        return float(torch.as_tensor(gap).sqrt() / torch.cat([each.flatten() for each in expected]).norm())

    coarse, fine = error(2), error(12)

    assert fine < 5e-3
    assert fine < coarse / 4


def test_adjoint_memory_of_the_network_does_not_grow_with_the_steps() -> None:
    assert kept_bytes(1, adjoint=True) == kept_bytes(8, adjoint=True)
    assert kept_bytes(8, adjoint=False) > 3 * kept_bytes(8, adjoint=True)


def kept_bytes(steps: int, adjoint: bool) -> int:
    """What a forward pass keeps for the way back."""
    held: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        held.append(tensor)
        return tensor

    network = seeded(SHALLOW, OdeSolver("rk4", steps, adjoint=adjoint))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(images(2, 1, 8), torch.tensor([10, 900]))
    return sum({each.data_ptr(): each.untyped_storage().nbytes() for each in held}.values())


@pytest.mark.parametrize("attention", ["two", "five", "none"])
@pytest.mark.parametrize("residual", [True, False])
def test_every_ablation_runs_and_every_parameter_learns(attention: str, residual: bool) -> None:
    sizes = CUNetSizes(16, 1, 8, 4, attention, residual)  # type: ignore[arg-type]
    network = seeded(sizes).train()

    network(images(2), torch.tensor([3, 700])).square().mean().backward()

    assert all(each.grad is not None and each.grad.abs().max() > 0 for each in network.parameters())


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 4, 4), (3, 64, 64), (2, 12, 20)])
def test_any_channels_and_any_sides_that_halve_are_taken(channels: int, height: int, width: int) -> None:
    network = seeded(CUNetSizes(image_size=16, channels=channels, width=8, depth=3))
    x_t = torch.zeros(1, channels, height, width)

    with torch.no_grad():
        assert network(x_t, torch.tensor([5])).shape == x_t.shape


@pytest.mark.slow
def test_it_compiles_whole() -> None:
    network = seeded(SHALLOW)
    compiled = torch.compile(network, backend="eager", fullgraph=True)

    with torch.inference_mode():
        x_t, t = images(1, 1, 8), torch.tensor([3])
        torch.testing.assert_close(compiled(x_t, t), network(x_t, t), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image_size": 28}, "a 28x28 image cannot be halved 4 times; use sides that are multiples of 16"),
        ({"width": 12}, "width must be a multiple of 8, the groups of its norms; got 12"),
        ({"attention": "one"}, "attention: expected one of two, five, none, got 'one'"),
        ({"attention": "five", "depth": 3}, "depth must be at least 4 with attention 'five', got 3"),
        ({"attention": "none", "depth": 0}, "depth must be at least 1 with attention 'none', got 0"),
    ],
)
def test_impossible_sizes_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ParamError, match=said):
        CUNetSizes(**wrong)  # type: ignore[arg-type]


def test_an_image_it_cannot_halve_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="a 16x30 image cannot be halved 2 times"):
        seeded()(torch.zeros(1, 1, 16, 30), torch.tensor([0]))
