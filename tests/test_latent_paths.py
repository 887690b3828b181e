"""The past of a forecast by latents that depend on each other: filtered in two parts."""

import numpy as np
import pytest
import torch
from cases import dataset, model

from seqlatent.data.batch import collate
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.models.latent import filtering
from seqlatent.models.latent.filtering import filter_reading
from seqlatent.nn.causal import map_state
from seqlatent.tasks.forecasting import forecast

NAMES = ["latent", "latent-recurrent", "vrnn"]


@pytest.mark.parametrize("name", NAMES)
def test_a_filter_goes_on_from_its_particles(name: str):
    """Of the same noise, in two parts as in one."""
    m, data = model(name), dataset(num=3, steps=9)
    batch = collate([s for s in data if len(s) == 9])
    num = len(batch.x)
    uniforms = torch.rand(num, 9, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        r = m.reading(batch)
        noise = SequenceNoise([str(i) for i in range(num)], 0)
        whole, last = filter_reading(m, r, 16, uniforms, noise)
        noise = SequenceNoise([str(i) for i in range(num)], 0)
        first, begun = filter_reading(m, r.steps(0, 4), 16, uniforms[:, :4], noise)
        rest, again = filter_reading(m, r.steps(4, 9), 16, uniforms[:, 4:], noise, begin=begun)
    torch.testing.assert_close(torch.cat([first.log_prob, rest.log_prob], 1), whole.log_prob)
    torch.testing.assert_close(again.log_weights, last.log_weights)
    states: list[list[torch.Tensor]] = [[], []]
    for found, particles in zip(states, (last, again), strict=True):
        map_state(found.append, particles.state)
    for one, other in zip(*states, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_few_particles_long_ago_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch):
    """Means and spreads of 4,000 paths, four standard errors of their differences allowed."""
    data = dataset(num=3, steps=60, seed=1)
    m, num = model(name, data=data), 4_000
    few = np.stack([f.samples[:, :, 0] for f in forecast(m, data, 2, num_samples=num, seed=0)])
    monkeypatch.setattr(filtering, "LAST_STEPS", 100)
    all_along = forecast(m, data, 2, num_samples=num, seed=1)
    many = np.stack([f.samples[:, :, 0] for f in all_along])
    spread = many.std(1)
    assert (np.abs(few.mean(1) - many.mean(1)) < 4 * np.sqrt(2 / num) * spread).all()
    fourth = ((many - many.mean(1, keepdims=True)) ** 4).mean(1) / spread**4
    allowed = 4 * np.sqrt(2 * (fourth - 1) / 4 / num)
    assert (np.abs(np.log(few.std(1) / spread)) < allowed).all()


@pytest.mark.parametrize("name", NAMES)
def test_blocks_of_sequences_have_the_same_paths(name: str, monkeypatch: pytest.MonkeyPatch):
    """The last steps of many sequences are filtered some at a time."""
    data = dataset(num=5, steps=12)
    m = model(name, data=data)

    def paths() -> np.ndarray:
        return np.stack([f.samples for f in forecast(m, data, 3, num_samples=70, seed=0)])

    together = paths()
    monkeypatch.setattr(filtering, "ROWS", 2 * 70)
    np.testing.assert_allclose(paths(), together, atol=1e-5)
