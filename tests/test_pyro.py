"""Pyro's inference on the latent-variable model and its guide: an example of each, with its answer.

Tests of MCMC compare with the weighted posterior, whose own tests have exact answers
(test_posterior.py).
"""

import copy
import math

import numpy as np
import pyro
import pytest
import torch
from cases import dataset, model
from exact import chain, last_value, latent_model
from pyro import poutine
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.optim import Adam

import seqlatent as sl
from seqlatent.distributions.noise import TorchNoise
from seqlatent.inference import weighted_posterior
from seqlatent.models.latent.model import LatentModel
from seqlatent.processes import PROCESSES

NAMES = ("latent", "latent-last", "vrnn")


@pytest.fixture(autouse=True)
def empty_store():
    """Pyro's parameter store is global: each test begins and ends without it."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    yield
    pyro.clear_param_store()


@pytest.fixture(scope="module")
def data() -> sl.SequenceDataset:
    return PROCESSES["ar2"]().sample(24, 8, 0)


@pytest.fixture(scope="module")
def fitted(data) -> dict[str, sl.Latent]:
    sizes = {"latent_dim": 1, "hidden_dim": 8, "emission": "normal", "scaling": "global"}
    models = {
        "latent": sl.Latent(**sizes),
        "latent-last": sl.Latent(prior="independent", **sizes),
        "vrnn": sl.VRNN(**sizes),
        "dmm": sl.DMM(**sizes),
    }
    return {name: m.fit(data, max_steps=30) for name, m in models.items()}


def near(a: torch.Tensor, b: torch.Tensor, error: torch.Tensor) -> bool:
    return bool(((a - b).abs() < 5 * error).all())


# -- SVI --------------------------------------------------------------------------------------


def trained(m: LatentModel, batch: sl.SequenceBatch, steps: int = 40) -> list[float]:
    """The losses of some steps of SVI."""
    svi = SVI(m.model, m.guide, Adam({"lr": 0.02}), Trace_ELBO())
    return [float(svi.step(batch)) for _ in range(steps)]  # pyright: ignore


def still(m: LatentModel, before: LatentModel) -> list[str]:
    """Names of the parameters that are where they were."""
    old = dict(before.named_parameters())
    return [name for name, p in m.named_parameters() if torch.equal(p, old[name])]


@pytest.mark.parametrize("name", NAMES)
def test_svi_trains_model_and_guide(name: str, data):
    m, batch = model(name, "normal", data), sl.collate(data)
    before = copy.deepcopy(m)
    losses = trained(m, batch)
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - batch.scored.sum().item() * 0.05
    assert still(m, before) == []


def test_svi_trains_each_of_two_models_and_a_copy(data):
    batch = sl.collate(data)
    first, second = (model("latent", "normal", data) for _ in range(2))
    before = copy.deepcopy(first)
    trained(first, batch, 2)
    assert still(first, before) == [] and len(still(second, before)) > 0  # one after the other
    trained(second, batch, 2)
    assert still(second, before) == []
    third = copy.deepcopy(first)
    before = [copy.deepcopy(m) for m in (first, second, third)]
    svis = [SVI(m.model, m.guide, Adam({"lr": 0.02}), Trace_ELBO()) for m in (first, third)]
    for _ in range(2):  # side by side
        for svi in svis:
            svi.step(batch)
    assert still(first, before[0]) == [] and still(third, before[2]) == []
    assert still(second, before[1]) == [n for n, _ in second.named_parameters()]


def test_svi_trains_what_requires_a_gradient(data):
    """The guide alone; and a guide of Pyro's own for a model that stays as it is."""
    m, batch = model("dmm", "normal", data), sl.collate(data)
    m.requires_grad_(False)
    m.guide_network.requires_grad_(True)
    before = copy.deepcopy(m)
    trained(m, batch, 2)
    assert {n for n, _ in m.named_parameters()} - set(still(m, before)) == {
        f"guide_network.{n}" for n, _ in m.guide_network.named_parameters()
    }
    m.requires_grad_(False)
    guide = AutoNormal(m.model)
    svi = SVI(m.model, guide, Adam({"lr": 0.02}), Trace_ELBO())
    losses = [svi.step(batch) for _ in range(40)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


@pytest.mark.parametrize("checked", [False, True])
def test_our_own_training_leaves_store_and_settings_alone(checked: bool, data):
    with pyro.settings.context(validate_distributions_torch=checked):
        before = pyro.settings.get()
        sl.VRNN(hidden_dim=8).fit(data, max_steps=3)
        assert pyro.settings.get() == before
    assert len(pyro.get_param_store()) == 0


# -- units ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["global", "running+increments", "log+seasonal", "none"])
def test_log_scale_takes_pyro_s_elbo_to_data_units(scaling: str):
    x = [50 * s.x for s in dataset(num=4, channels=2)]
    data = sl.SequenceDataset.from_list(x)
    m = model("dmm", "normal", data, scaling=scaling, season=2 if "seasonal" in scaling else 1)
    batch = sl.collate(data)
    num = 300
    with torch.no_grad():
        loss = Trace_ELBO(num_particles=num, vectorize_particles=True, max_plate_nesting=2).loss
        pyro_s = -loss(m.model, m.guide, batch) - m.log_scale(batch).sum().item()
        r = m.reading(batch)
        eps = torch.randn(4 * num, *batch.x.shape[:2], m.latent_dim)
        ours = torch.where(r.counted, m.propose(r, eps)[0].log_weight, 0.0).sum((1, 2))
    error = ours.std().item() * math.sqrt(1 / num + 1 / len(ours))
    assert abs(pyro_s - ours.mean().item()) < 4 * error
    if scaling != "none":
        assert m.log_scale(batch).sum().item() > 10 * error  # of no small account


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_the_elbo_of_a_fitted_model_is_that_of_its_scores(elbo, fitted, data):
    m, batch = fitted["vrnn"], sl.collate(data)
    score = elbo(num_particles=400, vectorize_particles=True, max_plate_nesting=2)
    with torch.no_grad():
        bound = -score.loss(m.module.model, m.module.guide, batch)
    total = bound - m.module.log_scale(batch).sum().item()
    look = m.inspect(data)
    assert abs(total / batch.scored.sum().item() - look.elbo) < 5 * look.elbo_error


# -- Predictive -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("parallel", [False, True])
def test_posterior_predictive(name: str, parallel: bool, fitted, data):
    """Reconstructions: p(x_t | history, z_t) at latents from the guide."""
    m, batch = fitted[name].module, sl.collate(data)
    num, (B, T, D) = 100, batch.x.shape
    sites = ("z", "x", "_RETURN")
    predict = Predictive(
        poutine.uncondition(m.model), guide=m.guide, num_samples=num, return_sites=sites,
        parallel=parallel,
    )  # fmt: skip
    p = predict(batch)
    assert p["z"].shape == (num, B, T, 1) and p["x"].shape == (num, B, T, D)
    torch.testing.assert_close(p["_RETURN"], m.scaler.unscale(p["x"], m.scaler(batch)))
    with torch.no_grad():
        r = m.reading(batch)
        z = m.propose(r, torch.randn(num, B, T, 1))[0].z
        ours = m.reconstruct(r, z, TorchNoise())
    error = (ours.var(0) / num + p["_RETURN"].var(0) / num).sqrt()
    assert near(p["_RETURN"].mean(0), ours.mean(0), error)
    # With the values as given, the model returns these.
    torch.testing.assert_close(m.model(batch), batch.x, rtol=1e-5, atol=1e-5)


def test_prior_predictive_is_what_the_model_samples(fitted, data):
    """Of all steps where neither prior nor emission sees values; elsewhere of the first, as the
    others see the batch."""
    num, steps = 2000, 4
    batch = sl.collate([data.sequences[0].slice(0, steps)])
    for name, same in {"dmm": steps, "latent": 1, "latent-last": 1, "vrnn": 1}.items():
        predict = Predictive(
            poutine.uncondition(fitted[name].module.model), num_samples=num, parallel=True,
            return_sites=("x", "_RETURN"),
        )  # fmt: skip
        p = predict(batch)
        assert p["x"].shape == (num, 1, steps, 1)
        x = p["_RETURN"][:, 0, :same, 0]
        paths = fitted[name].sample(num, steps)
        ours = torch.from_numpy(np.stack([s.x[:same, 0] for s in paths]))
        assert near(x.mean(0), ours.mean(0), ours.std(0) * math.sqrt(2 / num)), name
        assert near(x.std(0), ours.std(0), ours.std(0) / math.sqrt(num)), name


# -- MCMC -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["latent-last", "dmm", "vrnn"])
def test_nuts_samples_the_posterior(name: str):
    """Of models whose latents do much for the values; that of the first two is Gaussian."""
    m = {
        "latent-last": last_value,
        "dmm": lambda: chain(smoothing=False),
        "vrnn": lambda: latent_model("vrnn"),
    }[name]()
    batch = sl.collate(sl.SequenceDataset.from_arrays(np.array([[1.5, -1.2, 0.4, 2.0, 1.0]])))
    num = 300
    mcmc = MCMC(NUTS(m.model), num_samples=num, warmup_steps=50, disable_progbar=True)
    mcmc.run(batch)
    z = mcmc.get_samples()["z"]
    assert z.shape == (num, 1, 5, 1)
    p = weighted_posterior(m, batch, "a", num_samples=2000, smoothing=True, seed=0)
    parts = z[:, 0].unflatten(0, (20, -1)).mean(1)  # the error of a chain's mean: by batches
    error = (parts.var(0) / len(parts) + p.scale**2 / p.ess[:, None]).sqrt()
    assert (error < 0.15 * p.scale).all()
    assert near(z[:, 0].mean(0), p.mean, error)
    assert near(z[:, 0].std(0), p.scale, error)
    assert not near(torch.zeros(5, 1), p.mean, error)  # the prior's mean would not do


# -- poutine ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_poutine_shows_and_fixes_the_sites(name: str, fitted, data):
    m, batch = fitted[name].module, sl.collate(data)
    B, T, D = batch.x.shape
    q = poutine.trace(m.guide).get_trace(batch)
    p = poutine.trace(poutine.replay(m.model, q)).get_trace(batch)
    p.compute_log_prob()
    q.compute_log_prob()
    assert p.nodes["x"]["value"].shape == (B, T, D) and p.nodes["z"]["value"].shape == (B, T, 1)  # pyright: ignore
    z = q.nodes["z"]["value"]
    ours = m.at(m.reading(batch), z)
    for density, expected in (
        (p.nodes["x"]["log_prob"] - m.log_scale(batch), ours.log_x),  # pyright: ignore
        (p.nodes["z"]["log_prob"], ours.log_prior),  # pyright: ignore
        (q.nodes["z"]["log_prob"], ours.log_q),
    ):
        assert density.shape == (B, T)
        torch.testing.assert_close(density, expected, rtol=1e-4, atol=1e-4)
    # The model at latents that are given.
    given = poutine.trace(poutine.condition(m.model, {"z": z})).get_trace(batch)
    assert given.nodes["z"]["is_observed"]  # pyright: ignore
    torch.testing.assert_close(given.log_prob_sum(), p.log_prob_sum())
    # Without the values: a model of the latents alone, and parameters out of sight.
    latents = poutine.block(m.model, hide=["x"], hide_types=["param"])
    assert list(poutine.trace(latents).get_trace(batch).stochastic_nodes)[-1] == "z"
    assert list(poutine.trace(latents).get_trace(batch).param_nodes) == []


# -- batches ----------------------------------------------------------------------------------


def test_collate_takes_data_sets_and_sequences(data):
    whole = sl.collate(data)
    assert whole.x.shape == (24, 8, 1)
    for same in (list(data), iter(data), data.sequences):
        assert torch.equal(sl.collate(same).x, whole.x)
    with pytest.raises(sl.InputError, match="no sequences"):
        sl.collate([])
    with pytest.raises(sl.InputError, match=r"sl\.load"):
        sl.collate([np.zeros((5, 1))])
