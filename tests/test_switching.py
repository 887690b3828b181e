"""Regimes: the recursions and the model against the enumeration of all paths, and Pyro."""

import itertools
import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from cases import dataset, model, stir
from pyro.distributions import Categorical, DiscreteHMM
from pyro.distributions import Normal as PyroNormal

import seqlatent as sl
from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference import chains
from seqlatent.inference.chains import DOUBLE, Chain
from seqlatent.models.registry import build_model
from seqlatent.models.switching import SwitchingModel, SwitchingOptions
from seqlatent.options import make
from seqlatent.processes import PROCESSES
from seqlatent.tasks.encoding import infer_latents
from seqlatent.tasks.regimes import FoundRegimes
from seqlatent.training.messages import _warn_of_unused

K, T = 3, 5


def random_chain(B: int = 2, b: int = 2, size: float = 1.0, steps: int = T) -> Chain:
    """A chain with two steps in which nothing was observed."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return size * torch.randn(*shape, generator=generator, dtype=DOUBLE)

    emission = normal(B, steps, K)
    emission[0, steps // 2], emission[-1, -1] = 0.0, 0.0
    return Chain(normal(B, K).log_softmax(-1), normal(b, steps, K, K).log_softmax(-1), emission)


def paths(chain: Chain) -> tuple[list[tuple[int, ...]], torch.Tensor]:
    """All K^T paths, and (B, K^T) log p(x, s) of each."""
    start, transition, emission = chain
    B, steps, _ = emission.shape
    transition = transition.expand(B, -1, -1, -1)
    every = list(itertools.product(range(K), repeat=steps))
    joint = [
        start[:, s[0]]
        + sum(transition[:, t, s[t - 1], s[t]] for t in range(1, steps))
        + sum(emission[:, t, s[t]] for t in range(steps))
        for s in every
    ]
    return every, torch.stack(joint, 1)


def upto(chain: Chain, t: int) -> Chain:
    """The chain of the first t steps."""
    return Chain(chain.start, chain.transition[:, :t], chain.emission[:, :t])


def posterior(chain: Chain) -> torch.Tensor:
    """(B, T, K) p(s_t | x_{1:T}), by enumeration."""
    every, joint = paths(chain)
    member = torch.nn.functional.one_hot(torch.tensor(every), K).to(DOUBLE)
    return torch.einsum("bn,ntk->btk", joint.softmax(1), member)


@pytest.mark.parametrize("size", [1.0, 30.0])  # of logarithms; the latter of widths far apart
@pytest.mark.parametrize("b", [1, 2])
def test_recursions_are_the_enumeration(b: int, size: float):
    chain = random_chain(b=b, size=size)
    log_prob, filtered = chains.log_prob(chain)
    totals = torch.stack([paths(upto(chain, t))[1].logsumexp(1) for t in range(1, T + 1)], 1)
    torch.testing.assert_close(log_prob.cumsum(1), totals, rtol=1e-12, atol=1e-10)
    for t in range(1, T + 1):
        expected = posterior(upto(chain, t))[:, -1]
        torch.testing.assert_close(filtered[:, t - 1], expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(chains.smooth(chain), posterior(chain), rtol=0, atol=1e-10)
    every, joint = paths(chain)
    best = [list(every[i]) for i in joint.argmax(1).tolist()]
    assert chains.best_path(chain).tolist() == best


@pytest.mark.parametrize("b", [1, 2])
@pytest.mark.parametrize("steps", [1, 2, T])
def test_the_gradient_is_right(b: int, steps: int):
    parts = tuple(part.requires_grad_() for part in random_chain(b=b, steps=steps))
    assert torch.autograd.gradcheck(lambda *p: chains.log_prob(Chain(*p))[0], parts)


def test_nothing_is_lost_to_underflow():
    """A step that only one regime explains, after another that nearly never ends."""
    transition = torch.tensor([[0.0, -75.0], [-75.0, 0.0]], dtype=DOUBLE).expand(1, 3, 2, 2)
    emission = torch.tensor([[[0.0, -5000.0], [-5000.0, 0.0], [-9.0, -5000.0]]], dtype=DOUBLE)
    start = torch.full((1, 2), 0.5, dtype=DOUBLE).log()
    value = chains.log_prob(Chain(start, transition, emission))[0]
    expected = torch.tensor([[np.log(0.5), -75.0, -84.0]], dtype=DOUBLE)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)


def test_sampled_paths_follow_the_posterior():
    num = 20_000
    chain = Chain(*(part[:1] for part in random_chain()))
    samples = chains.sample_path(chain, num, SequenceNoise(["a"], 0))
    every, joint = paths(chain)
    places = (samples * K ** torch.arange(T - 1, -1, -1)).sum(1)
    shares = torch.bincount(places, minlength=len(every)) / num
    p = joint.softmax(1)[0]
    assert ((shares - p).abs() < 5 * (p * (1 - p) / num).sqrt() + 1e-3).all()


def test_pyro_agrees():
    """Its chain has a step of transition before the first value."""
    chain = Chain(*(part[:1] for part in random_chain(b=1)))
    loc, scale = torch.tensor([-1.0, 0.0, 2.0]).double(), torch.tensor([0.5, 1.0, 0.3]).double()
    x = torch.tensor([0.3, -1.0, 2.1, 1.9, 0.0]).double()
    step = chain.transition[0, 0]
    known = DiscreteHMM(
        torch.full((K,), 1 / K).double().log(), step, PyroNormal(loc, scale), duration=T
    )
    start = Categorical(logits=(step.exp().mean(0)).log()).logits[None]
    emission = PyroNormal(loc, scale).log_prob(x[:, None])[None]
    ours = Chain(start, step.expand(1, T, -1, -1), emission)
    total = chains.log_prob(ours)[0].sum()
    torch.testing.assert_close(total, known.log_prob(x), rtol=0, atol=1e-10)


# -- the model ------------------------------------------------------------------------------------


@pytest.fixture
def double() -> Iterator[None]:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(DOUBLE)
    yield
    torch.set_default_dtype(usual)


def covariate_model(transitions: str, steps: int = 4) -> tuple[SwitchingModel, SequenceBatch]:
    """A model of two channels with a covariate, and sequences with gaps."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, steps, 2))
    x[0, 1], x[1, 2, 1] = np.nan, np.nan
    frame = pd.DataFrame(x.reshape(-1, 2), columns=["a", "b"])
    frame["unique_id"], frame["ds"] = np.repeat(["1", "2"], steps), np.tile(np.arange(steps), 2)
    frame["c"] = rng.normal(size=2 * steps)
    data = SequenceDataset.from_frame(frame, targets=["a", "b"], covariates=["c"])
    options = make(
        SwitchingOptions, {"emission": "normal", "transitions": transitions, "history": "last"}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build_model("switching", options, DataDescription.of(data))
        stir(made, 0.5)
    assert isinstance(made, SwitchingModel)
    return made.eval(), collate(data.sequences)


@pytest.mark.parametrize("transitions", ["constant", "covariates", "past"])
def test_the_model_is_the_enumeration(transitions: str, double: None):
    m, batch = covariate_model(transitions)
    state = m.begin(batch)
    y, _, u = m.inputs(batch, state)
    first = torch.zeros_like(u[..., :1])
    first[:, 0] = 1
    u = torch.cat([u, first], -1)
    logits = m.log_transition.expand(2, 4, -1, -1)
    if m.moved is not None:
        by = u if transitions == "past" else batch.covariates - m.covariate_scaler.loc
        by = by if transitions == "past" else by / m.covariate_scaler.scale
        logits = logits + m.moved(by).unflatten(-1, (K, K))
    each = [head(u, batch.observed).log_prob(y) for head in m.regime_heads()]
    start = m.log_start.log_softmax(-1).expand(2, -1)
    chain = Chain(start, logits.log_softmax(-1), torch.stack(each, -1))
    log_prob, _ = m.log_prob(batch)
    scale = m.log_scale(batch)
    total = paths(chain)[1].logsumexp(1)
    torch.testing.assert_close((log_prob + scale).sum(1), total, rtol=0, atol=1e-10)
    assert log_prob[0, 1] == 0  # nothing was observed
    torch.testing.assert_close(m.smooth_regimes(batch), posterior(chain), rtol=0, atol=1e-10)
    spread = (chain.transition - chain.transition[:1, :1]).detach().abs().max()
    assert (spread > 1e-3) == (transitions != "constant")


def test_filter_in_chunks_is_the_whole(double: None):
    m, batch = covariate_model("past")
    whole, _ = m.filter_regimes(batch)
    first, state = m.filter_regimes(batch.steps(0, 2))
    rest, _ = m.filter_regimes(batch.steps(2, 4), state)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_regimes_are_recovered(seed: int):
    """Those of a hidden Markov chain: at 97 % of the steps those of the true model's smoother."""
    P = PROCESSES["hmm"]()
    data, test = P.sample(200, 100, seed=seed), P.sample(100, 100, seed=seed + 100)
    m = sl.Switching(scaling="global").fit(data, seed=seed, max_steps=100, progress=False)
    x = torch.tensor(np.stack([s.x for s in test]))
    emission = torch.distributions.Normal(torch.tensor(P.loc), torch.tensor(P.scale)).log_prob(x)
    A = torch.tensor(P.transition).log().expand(1, 100, -1, -1)
    truth = chains.smooth(Chain(torch.full((100, 3), 1 / 3).double().log(), A, emission))
    found = m.latents(test)
    assert isinstance(found, FoundRegimes)
    mine = torch.tensor(np.stack([s.probability for s in found.series])).argmax(-1)
    agree = max(
        (torch.tensor(p)[mine] == truth.argmax(-1)).double().mean()
        for p in itertools.permutations(range(3))
    )
    assert agree > 0.97


@pytest.mark.slow
def test_a_first_step_is_not_a_missing_one():
    """The process starts from a known value. With one flag for both, which training data have more
    often for missing values, the first step alone costs 0.6 nats."""
    P = PROCESSES["switching-ar"]()
    data, test = P.sample(200, 100, seed=0), P.sample(200, 100, seed=1)
    m = sl.Switching(scaling="global", history="last", num_states=2)
    m.fit(data, seed=0, max_steps=25, progress=False)
    regret = P.log_prob(test) - m.log_prob(test)["log_prob"].to_numpy()
    error = regret.std(ddof=1) / np.sqrt(len(regret))
    assert regret.mean() < 0.2 + 3 * error


@pytest.mark.parametrize("posterior", ["filtering", "smoothing"])
def test_encoded(posterior: str):
    m, data = model("switching"), dataset(num=2, steps=5)
    a, b, c = (
        infer_latents(m, data, num_samples=4, seed=seed, posterior=posterior) for seed in (0, 0, 1)
    )
    assert isinstance(a, FoundRegimes)
    frame, samples = a.to_frame(), a.samples_frame()
    names = [f"regime{k}_probability" for k in (1, 2, 3)]
    assert list(frame.columns) == ["unique_id", "ds", "regime", *names]
    assert frame["regime"].isin([1, 2, 3]).all()
    np.testing.assert_allclose(frame[names].sum(axis=1), 1)
    assert len(samples) == 4 * len(frame)
    assert samples["regime"].isin([1, 2, 3]).all()
    assert samples.equals(b.samples_frame())  # type: ignore[union-attr]
    assert not samples.equals(c.samples_frame())  # type: ignore[union-attr]
    with pytest.raises(InputError, match="has no guide"):
        infer_latents(m, data, posterior="guide")


def test_a_real_emission_is_normal_within_a_regime():
    data = dataset()
    options, reason = SwitchingModel.complete(SwitchingOptions(), DataDescription.of(data))
    assert options.emission == "normal"
    assert "regimes" in reason


def test_unused_regimes_are_warned_of(caplog: pytest.LogCaptureFixture):
    used = torch.tensor([[0.5, 0.495, 0.005]]).expand(10, -1)
    with caplog.at_level(logging.WARNING, "seqlatent"):
        _warn_of_unused(torch.full((10, 3), 1 / 3))
        assert not caplog.text
        _warn_of_unused(used)
    assert "1 regime of 3" in caplog.text
    assert "num_states=2" in caplog.text


def test_the_start_of_regimes_ends_when_it_is_late():
    """However early that is, the model is left whole; and what it had by then is kept."""
    data = dataset()
    calls = []

    def late_after(most: int) -> float:
        def late() -> bool:
            calls.append(0)
            return len(calls) > most

        calls.clear()
        torch.manual_seed(0)
        m = model("switching", data=data, num_states=2, emission="normal")
        m.start(data, late)
        assert all(bool(p.isfinite().all()) for p in m.parameters())
        with torch.no_grad():
            return float(m.log_prob(collate(data.sequences))[0].sum())

    values = [late_after(most) for most in (0, 60, 10_000)]
    assert values[0] < values[1] < values[2]
    assert len(calls) < 10_000
