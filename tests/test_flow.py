"""The flow: its determinant, inverse, mass and latents, against independent calculations.

The same tests run for every emission, network and direction.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from cases import dataset, model
from scipy.stats import kstest, norm
from torch.autograd.functional import jacobian

from seqlatent.api import Flow
from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.emission_options import CHANNELS
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference.paths import sample_paths
from seqlatent.models.flow.model import CONDITIONS, FlowModel
from seqlatent.tasks.encoding import encode

NETWORKS = ("gru", "cnn", "transformer")

EMISSIONS = ("normal", "sinh-arcsinh", "spline", "sinh-arcsinh-spline")
# Beside a triangular map under N(0, I): other maps of the channels, another base.
FORMS: dict[str, dict[str, str]] = {
    "coupling": {"channels": "coupling"},
    "coupling-learned": {"channels": "coupling", "coupling_order": "learned"},
    "base": {"base": "autoregressive"},
}
CASES = ["-".join(c) for c in itertools.product(EMISSIONS, NETWORKS, CONDITIONS)] + [
    f"{maps}-{condition}/{form}"
    for maps, condition, form in itertools.product(
        ("normal-cnn", "spline-transformer", "sinh-arcsinh-spline-gru"), CONDITIONS, FORMS
    )
]


# Every map and direction on one network, every network, and every form, once; the products of these
# are `slow`.
QUICK = [c for c in CASES if "-gru-" in c or (c.startswith("spline") and "/" not in c)]
EACH = [pytest.param(c, marks=[pytest.mark.slow] * (c not in QUICK)) for c in CASES]


def flow(case: str, channels: int = 1, **options) -> FlowModel:
    name, _, form = case.partition("/")
    emission, network, condition = name.rsplit("-", 2)
    data = dataset("real", channels, num=8)
    chosen = {"network": network, "condition_on": condition}
    chosen |= {**FORMS.get(form, {}), **options}
    m = model("flow", emission, data, **chosen)
    assert m.options.emission == emission
    assert isinstance(m, FlowModel)
    for p in m.head.parameters():  # maps as nonlinear as trained ones; layers multiply
        p.data.mul_(0.25 if "coupling" in form else 0.5)
    return m


def batch_of(x: np.ndarray | torch.Tensor) -> SequenceBatch:
    """A batch of whole sequences (B, T, D)."""
    x = torch.as_tensor(x, dtype=torch.float64)
    size, steps = x.shape[:2]
    empty = torch.zeros(size, dtype=torch.int64)
    seen = torch.ones_like(x, dtype=torch.bool)
    nothing = torch.zeros(size, steps, 0).double()
    return SequenceBatch(x, seen, empty + steps, empty, nothing, x[:, :0], empty)


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("case", EACH)
def test_log_det_is_that_of_the_whole_jacobian(case: str, double):
    """log |det dz / dx| of all steps and channels at once, by autograd."""
    m = flow(case, channels=2).double()
    x = torch.from_numpy(dataset("real", 2, num=1, steps=4, seed=3).sequences[0].x)[None]
    whole = jacobian(lambda v: m.encode(batch_of(v))[0].flatten(), x).reshape(8, 8)
    blocks = whole.reshape(4, 2, 4, 2).abs().sum((1, 3))
    assert (blocks.triu(1) == 0).all()  # no latent depends on a later value
    if "coupling" not in case:
        assert (whole.triu(1) == 0).all()  # nor, for a triangular map, on a later channel
    others = whole - torch.diag(whole.diagonal())
    assert (others.abs() > 0).sum() >= 20  # but on the past and the other channel
    expected = whole.slogdet().logabsdet
    z = m.encode(batch_of(x))[0]
    base = torch.distributions.Normal(0, 1).log_prob(z).sum()
    log_prob = m.log_prob(batch_of(x))[0].sum()
    assert (log_prob - base).item() == pytest.approx(expected.item(), abs=1e-10)
    if "base" not in case:
        log_det = m.terms(batch_of(x))["log_det"].sum()
        assert log_det.item() == pytest.approx(expected.item(), abs=1e-10)
    again, _ = m.decode(z, batch_of(x).covariates, m.begin(None))
    torch.testing.assert_close(again, x, rtol=0, atol=1e-8)


@torch.no_grad()
@pytest.mark.parametrize("case", EACH)
def test_decoding_inverts_encoding_to_50_sd(case: str):
    """Each map f_t in single precision, after an equally extreme history; coupling layers, which
    multiply, after a usual one."""
    m = flow(case, channels=2)
    size = np.linspace(-50, 50, 41)
    y = np.stack([np.roll(size, 7 * i) for i in range(12)]).reshape(-1, 6, 2)
    batch = batch_of(20 + 3 * y)
    past = batch_of(20 + 0.1 * y) if "coupling" in case else batch
    history = m.begin(batch)
    for t in range(6):
        now = batch.steps(t, t + 1)
        z, _ = m.encode(now, history)
        again, _ = m.decode(z, now.covariates, history)
        # A rounding error of the latents changes y by its size times that of the inverse Jacobian,
        # and the second channel's or the next layer's map depends on the first channel.
        error = np.abs(again.numpy() - now.x.numpy()).max((1, 2)) / 3
        back = torch.linalg.inv(step_jacobian(m, now, history)).norm(dim=(1, 2)).numpy()
        size = np.abs(z.numpy()).max((1, 2)) * back / 3
        allowed = 1e-6 * (1 + np.abs(y[:, t]).max(1) + size)
        assert (error < (11 if m.options.channels == "auto" else 33) * allowed).all()
        history = m.read(past.steps(t, t + 1), history)


@torch.enable_grad()
def step_jacobian(m: FlowModel, batch: SequenceBatch, history) -> torch.Tensor:
    """(B, 2, 2) dz / dx of a step of two channels."""
    x = batch.x.clone().requires_grad_()
    z = m.encode(dataclasses.replace(batch, x=x), history)[0]
    rows = [torch.autograd.grad(z[..., d].sum(), x, retain_graph=True)[0] for d in range(2)]
    return torch.stack(rows, -2)[:, 0]


@pytest.mark.parametrize("case", EACH)
def test_one_pass_is_the_same_as_step_by_step(case: str):
    """Encoding, decoding and sampling in one pass and step by step agree."""
    m = flow(case, channels=2)
    batch = batch_of(dataset("real", 2, num=3, steps=7).sequences[0].x[None])
    history, steps = m.begin(batch), []
    with torch.no_grad():
        whole, _ = m.encode(batch)
        for t in range(7):
            z, history = m.encode(batch.steps(t, t + 1), history)
            steps.append(z)
        torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-5, atol=1e-5)
        history, steps = m.begin(None), []
        whole, after = m.sample_steps(history, torch.zeros(5, 4, 0), _noise())
        noise = _noise()
        for _ in range(4):
            x, history = m.sample_steps(history, torch.zeros(5, 1, 0), noise)
            steps.append(x)
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(after.last, history.last, rtol=1e-4, atol=1e-4)


def _noise() -> SequenceNoise:
    return SequenceNoise(["a"], 4)


def grid_density(m: FlowModel, steps: int, width: float, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (data units) and the log density of all pairs of them: two steps, or two channels."""
    points = 20 + 3 * width * np.sinh(np.linspace(-3, 3, num)) / np.sinh(3)
    pairs = np.stack(np.meshgrid(points, points, indexing="ij"), -1)
    with torch.no_grad():
        log_prob, _ = m.log_prob(batch_of(pairs.reshape(-1, steps, 2 // steps)))
    return points, log_prob.double().sum(1).reshape(num, num).numpy()


@pytest.mark.parametrize("steps", [1, 2], ids=["two-channels", "two-steps"])
@pytest.mark.parametrize("case", EACH)
def test_mass_and_entropy(case: str, steps: int):
    """The density integrates to one, and samples score its negative entropy by quadrature."""
    m = flow(case, channels=2 // steps)
    points, log_density = grid_density(m, steps, width=20.0, num=161)

    def integral(values: np.ndarray) -> float:
        return float(np.trapezoid(np.trapezoid(values, points), points))

    density = np.exp(log_density)
    assert integral(density) == pytest.approx(1, abs=0.01)
    entropy = -integral(density * np.where(density > 0, log_density, 0.0))
    samples = sample_paths(m, m.begin(None), np.zeros((1, steps, 0)), 4000, _noise())[0]
    with torch.no_grad():
        scores = m.log_prob(batch_of(samples))[0].sum(1).double().numpy()
    error = scores.std() / np.sqrt(len(scores))
    assert abs(scores.mean() + entropy) < 4 * error + 0.01


def latent_errors(m: FlowModel, x: np.ndarray) -> dict[str, float]:
    """How far latents are from standard normal and independent: the p-value of a
    Kolmogorov-Smirnov test, and moments in standard errors."""
    with torch.no_grad():
        z = m.encode(batch_of(x))[0].double().numpy()

    def product(a: np.ndarray, b: np.ndarray) -> float:
        return abs(float((a * b).mean() / (a * b).std())) * np.sqrt(a.size)

    u = norm.cdf(z) - 0.5  # uniform, so that outliers do not dominate
    size = np.abs(u) - 0.25
    return {
        "p": float(kstest(z.ravel(), "norm").pvalue),
        "lag": product(u[:, 1:], u[:, :-1]),
        "size": product(size[:, 1:], size[:, :-1]),
        "channels": product(u[..., 0], u[..., 1]),
    }


@pytest.mark.parametrize("form", ["", *FORMS])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_latents_are_standard_normal_and_independent_if_the_model_is_true(
    condition: str, form: str
):
    m = flow(f"sinh-arcsinh-spline-gru-{condition}/{form}", channels=2)
    x = sample_paths(m, m.begin(None), np.zeros((1, 20, 0)), 300, _noise())[0]
    right = latent_errors(m, x)
    assert right["p"] > 0.01
    assert max(v for k, v in right.items() if k != "p") < 4
    # Sequences from other distributions: too wide, correlated steps, sizes or channels.
    rng = np.random.default_rng(0)
    alien = {
        "p": 20 + 1.2 * (x - 20),
        "lag": x + np.repeat(rng.normal(size=(300, 1, 2)), 20, 1),
        "size": 20 + (x - 20) * np.repeat(rng.choice([0.5, 2], (300, 1, 1)), 20, 1),
        "channels": x + rng.normal(size=(300, 20, 1)),
    }
    assert latent_errors(m, alien["p"])["p"] < 1e-4
    for name in ("lag", "size", "channels"):
        assert latent_errors(m, alien[name])[name] > 5


def test_encode_gives_the_exact_latents():
    data = dataset("real", 2, num=3, steps=9)
    data.sequences[1].x[4, 1] = np.nan
    m = flow("sinh-arcsinh-spline-gru-observations", channels=2)
    frame = encode(m, data)
    assert list(frame.columns) == ["unique_id", "ds", "z1_mean", "z1_scale", "z2_mean", "z2_scale"]
    assert (frame[["z1_scale", "z2_scale"]] == 0).all(axis=None)
    assert list(frame["z2_mean"].isna().to_numpy().nonzero()[0]) == [9 + 4]
    rows = frame[frame["unique_id"] == "0"]
    z = torch.tensor(rows[["z1_mean", "z2_mean"]].to_numpy()).float()[None]
    with torch.no_grad():
        x, _ = m.decode(z, torch.zeros(1, 9, 0), m.begin(None))
    np.testing.assert_allclose(x[0].numpy(), data.sequences[0].x, rtol=1e-4)


def test_a_missing_channel_leaves_the_distribution_of_the_others():
    m = flow("spline-gru-observations", channels=2)
    batch = batch_of(np.array([[[21.0, 17.0]], [[21.0, 30.0]]]))
    observed = torch.tensor([[[True, False]], [[True, False]]])
    seen = dataclasses.replace(batch, observed=observed)
    points = 20 + 60 * np.sinh(np.linspace(-3, 3, 961)) / np.sinh(3)
    pairs = np.stack([np.full(961, 21.0), points], -1)[:, None]
    with torch.no_grad():
        first, second = m.log_prob(seen)[0][:, 0]
        density = m.log_prob(batch_of(pairs))[0][:, 0].double().exp().numpy()
    assert first == second
    assert float(first) == pytest.approx(np.log(np.trapezoid(density, points)), abs=0.01)


@pytest.mark.parametrize("channels", CHANNELS)
def test_channels_may_be_independent(channels: str):
    m = model("flow", data=dataset("real", 2), channels=channels)
    x = collate(dataset("real", 2).sequences[:1])
    size = jacobian(
        lambda v: m.encode(dataclasses.replace(x, x=v))[0],
        x.x,
    )
    depends = bool(size[0, 0, 1, 0, 0, 0].abs() > 0)
    assert depends == (channels != "independent")


def test_counts_and_labels_are_refused_with_the_name_of_a_model_for_them():
    with pytest.raises(InputError, match=r"whole numbers .*--model rnn.*negative-binomial"):
        Flow().fit(dataset("count", num=12))
    with pytest.raises(InputError, match=r"0 or 1.*bernoulli"):
        Flow().fit(dataset("binary", num=12))
    with pytest.raises(InputError, match="cannot have emission=mixture, only normal, sinh-arcsinh"):
        Flow(emission="mixture").fit(dataset("real", num=12))


def test_a_map_narrower_than_the_data_s_grid_rests_on_the_floor():
    x = dataset("real", num=20).sequences
    data = SequenceDataset.from_list([s.x.round(1) for s in x])
    family = model("flow", data=data).value_distribution
    floor = float(family.floor)
    assert floor == pytest.approx(0.1 / data_scale(data) / np.sqrt(12), rel=1e-3)
    value = torch.zeros(1)
    wide, low = torch.zeros(1, family.num_params), torch.zeros(1, family.num_params)
    low[:, 1] = -30.0
    steep = wide.clone()
    steep[:, 1] = float(np.log(np.expm1(floor)))  # twice the floor,
    steep[:, 4 + 8 + 1] = 4.0  # and a spline that is steep in the middle
    assert [float(family.at_floor(p, value)) for p in (wide, low, steep)] == [0, 1, 1]
    assert torch.isfinite(family.log_prob(low, value)).all()


@pytest.mark.parametrize("repeats", [True, False])
def test_fit_warns_where_a_density_rests_on_repeated_values(repeats: bool, caplog):
    """There is no warning for a grid much finer than the noise."""
    caplog.set_level("WARNING", "seqlatent")
    rng = np.random.default_rng(0)
    x = rng.choice([20.5, 23.75], (20, 12)) if repeats else 20 + rng.normal(size=(20, 12)).round(1)
    data = SequenceDataset.from_list(list(x))
    m = Flow(hidden_dim=8).fit(data, max_steps=100)
    assert np.isfinite(m.log_prob(data)["log_prob"]).all()
    assert ("values repeat or lie on a grid" in caplog.text) == repeats


def data_scale(data: SequenceDataset) -> float:
    return float(np.concatenate([s.x for s in data]).std())
