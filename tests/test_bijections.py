"""The maps of the line: exact slopes, exact inverses, and tails that hold in single precision."""

import pytest
import torch
from torch.autograd.functional import jacobian
from zuko.transforms import MonotonicRQSTransform

from seqlatent.distributions.bijections import Bijection, Compose, SinhArcsinh, Spline

MAPS: dict[str, Bijection] = {
    "identity": Compose(),
    "sinh-arcsinh": SinhArcsinh(),
    "spline": Spline(6),
    "sinh-arcsinh-spline": Compose(SinhArcsinh(), Spline(6)),
    "spline-sinh-arcsinh": Compose(Spline(6), SinhArcsinh()),
}
every_map = pytest.mark.parametrize("bijection", MAPS.values(), ids=list(MAPS))


def params(bijection: Bijection, num: int, size: float = 1.0) -> torch.Tensor:
    """Different parameters for each of `num` values, in double precision."""
    generator = torch.Generator().manual_seed(0)
    shape = (num, bijection.num_params)
    return size * torch.randn(shape, generator=generator, dtype=torch.float64)


def far_points(num: int = 4001) -> torch.Tensor:
    """Points out to 50, dense in the middle."""
    return torch.linspace(-4.606, 4.606, num, dtype=torch.float64).sinh()


@every_map
def test_zeros_are_the_identity(bijection):
    y = far_points()
    z, log_slope = bijection.forward(torch.zeros(len(y), bijection.num_params).double(), y)
    torch.testing.assert_close(z, y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_slope, torch.zeros_like(y), rtol=0, atol=1e-10)


@every_map
def test_log_slope_is_autograd_s(bijection):
    y = far_points(401)
    raw = params(bijection, len(y))
    slope = jacobian(lambda v: bijection.forward(raw, v)[0], y).diagonal()
    assert (slope > 0).all()
    log_slope = bijection.forward(raw, y)[1]
    torch.testing.assert_close(log_slope, slope.log(), rtol=0, atol=1e-10)
    if bijection.num_params:
        assert log_slope.abs().max() > 1  # these maps are far from the identity


@every_map
def test_inverse_in_double_precision(bijection):
    y = far_points()
    raw = params(bijection, len(y))
    z, log_slope = bijection.forward(raw, y)
    again = bijection.inverse(raw, z)
    # One rounding of z moves y by its size over the slope.
    allowed = 1e-12 * (1 + y.abs() + z.abs() / log_slope.exp())
    assert ((again - y).abs() < allowed).all()


@every_map
def test_inverse_in_single_precision_to_50_sd(bijection):
    y = far_points().float()
    raw = params(bijection, len(y), 0.5).float()
    z, log_slope = bijection.forward(raw, y)
    error = (bijection.inverse(raw, z) - y).abs()
    assert (error <= 1e-6 * (1 + y.abs() + z.abs() / log_slope.exp())).all()


@every_map
def test_finite_far_out(bijection):
    """Values, slopes and gradients, for wild parameters and values, in single precision."""
    for y in (-3e12, -1e6, 0.0, 5.0, 3e12):
        raw = params(bijection, 50, 30.0).float().requires_grad_()
        z, log_slope = bijection.forward(raw, torch.full((50,), y))
        log_density = log_slope - 0.5 * z * z
        assert torch.isfinite(log_density).all()
        if bijection.num_params:
            log_density.clamp(min=-1e30).sum().backward()
            assert torch.isfinite(raw.grad).all()
    drawn = bijection.inverse(params(bijection, 1000, 30.0).float(), torch.linspace(-6, 6, 1000))
    assert torch.isfinite(drawn).all()


def test_tails_and_skew_do_what_they_say():
    y = torch.tensor([-20.0, 20.0])
    heavy, light, right = (torch.tensor(p).expand(2, 2) for p in ([-4.0, 0], [4.0, 0], [0, 1.0]))
    sas = SinhArcsinh()
    assert (sas.inverse(heavy, torch.tensor([-3.0, 3.0])).abs() > 8).all()
    assert (sas.inverse(light, y).abs() < y.abs()).all()
    low, high = sas.inverse(-right, torch.tensor([-1.0, 1.0]))
    assert high > -low  # a longer right tail


def test_a_spline_can_have_two_modes():
    """The density of x under a map that is flat between two steep parts, by its own slope."""
    raw = torch.zeros(Spline(4).num_params).double()
    raw[[4, 7]] = 1.0  # heights of the outer pieces
    raw[9] = -3.0  # slope at the middle knot
    y = torch.linspace(-5, 5, 1001).double()
    z, log_slope = Spline(4).forward(raw.expand(1001, -1), y)
    density = (log_slope - 0.5 * z * z).exp()
    modes = (density.diff().sign().diff() < 0).sum()
    assert modes == 2


def test_splines_are_zuko_s():
    """Knots found with bins first are those that zuko finds."""
    y = far_points(401)
    spline = Spline(6)
    raw = params(spline, len(y), 3.0)
    zuko = MonotonicRQSTransform(*raw.split([6, 6, 5], -1), bound=5.0, slope=1e-3)
    z, log_slope = spline.forward(raw, y)
    torch.testing.assert_close(z, zuko(y), rtol=0, atol=1e-12)
    torch.testing.assert_close(log_slope, zuko.log_abs_det_jacobian(y, z), rtol=0, atol=1e-10)
    torch.testing.assert_close(spline.inverse(raw, y), zuko.inv(y), rtol=0, atol=1e-10)
