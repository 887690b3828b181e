"""The range of latents within which a gated transition reads them: what it costs where the model is
right, and that paths keep near it where the model would lead them away."""

from pathlib import Path

import numpy as np
import torch
from exact import CHAIN, NOISE, STEP, chain, kalman_guide, linear_latents

import seqlatent as sl
from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.ranges import met_range
from seqlatent.models.latent.transitions import BOUND, GatedTransition
from seqlatent.tasks.forecasting import forecast
from seqlatent.tasks.scoring import score


def ends(model: LatentModel) -> tuple[torch.Tensor, torch.Tensor]:
    transition = model.prior.transition
    assert isinstance(transition, GatedTransition)
    return transition.low, transition.high


def test_it_holds_the_latents_of_the_training_data():
    m = chain(smoothing=False, guide_conditioning="prior")
    kalman_guide(m)
    m.finish(CHAIN.sample(50, 60, seed=0))
    low, high = ends(m)
    r = m.reading(collate(CHAIN.sample(50, 60, seed=1).sequences))
    z = m.propose(r, torch.randn(1, *r.y.shape[:2], 1, generator=torch.Generator()))[0].z
    # 12,000 draws made the range: of new ones about 2 in 12,000 lie beyond, and of the 3,000 here
    # more than 5 with a probability below 1e-4.
    assert int(((z < low) | (z > high)).sum()) <= 5
    assert (high - low) < 1.2 * (z.max() - z.min())


def test_a_right_model_keeps_its_likelihood():
    m = chain(smoothing=False, guide_conditioning="prior")
    kalman_guide(m)
    new = CHAIN.sample(20, 60, seed=1)
    before = score(m, new, num_particles=64)[0]["log_prob"].sum()
    m.finish(CHAIN.sample(50, 60, seed=0))
    after = score(m, new, num_particles=64)[0]["log_prob"].sum()
    assert abs(after - before) < 1e-3 * 20 * 60  # nats, by the same random numbers


def test_paths_of_an_unstable_transition_keep_near_it():
    growth, steps = 1.05, 100
    m = linear_latents(np.array([[growth]]), [STEP], [1.0])
    rng = np.random.default_rng(0)
    met = SequenceDataset.from_arrays(rng.normal(size=(20, 4, 1)))
    wild = np.abs(forecast(m, met, steps, num_samples=50)[0].samples).max()
    m.finish(met)
    low, high = ends(m)
    furthest = float(torch.maximum(-low, high)[0])
    assert furthest < BOUND / 3
    bound = growth * furthest + 6 * (STEP + NOISE)  # of 100,000 draws none lies beyond
    assert wild > 1.5 * bound
    assert all(np.abs(f.samples).max() < bound for f in forecast(m, met, steps, num_samples=50))


def test_a_window_of_a_long_series_is_enough(monkeypatch):
    m = chain(smoothing=False, guide_conditioning="prior")
    kalman_guide(m)
    long = CHAIN.sample(1, 4000, seed=0)
    whole = met_range(m, long)
    monkeypatch.setattr("seqlatent.models.latent.ranges.WINDOW", 100)
    for a, b in zip(whole, met_range(m, long), strict=True):
        assert abs(float(a - b)) < 1.0  # extremes of other draws of the same latents
    monkeypatch.setattr("seqlatent.models.latent.ranges.STEPS", 1)
    low, high = met_range(m, long)
    assert float(high - low) < float(whole[1] - whole[0])


def test_a_fit_sets_it_and_a_saved_run_keeps_it(tmp_path: Path):
    model = sl.Latent(latent_dim=2, hidden_dim=8).fit(CHAIN.sample(8, 20, seed=0), max_steps=3)
    low, high = ends(model.module)  # pyright: ignore[reportArgumentType]
    assert (low > -BOUND).all() and (high < BOUND).all() and (low < high).all()
    model.save(tmp_path / "run")
    kept = ends(sl.load_model(tmp_path / "run").module)  # pyright: ignore[reportArgumentType]
    assert torch.equal(kept[0], low) and torch.equal(kept[1], high)
