"""What is printed of models and results: a few lines, whatever their size."""

import html.parser

import numpy as np
import pytest

import seqlatent as sl
from seqlatent.data.dataset import SequenceDataset
from seqlatent.tasks.forecasting import SeriesForecast


def check(thing: object, *words: str) -> None:
    """Short as text; as HTML a table of the same facts, with every tag closed."""
    text = repr(thing)
    assert len(text.splitlines()) <= 6
    assert max(map(len, text.splitlines())) <= 110
    page = thing._repr_html_()
    assert len(page) < 2000
    for word in words:
        assert word in text
    parser = Tags()
    parser.feed(page)
    assert parser.open == []
    assert parser.seen[0] == "table"
    assert parser.seen.count("tr") == len(thing._facts()[1]) > 0
    assert all(word in " ".join(parser.texts) for word in words)


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def data() -> SequenceDataset:
    x = np.random.default_rng(0).normal(size=(30, 8, 1))
    x[7, 2:4] = np.nan
    return SequenceDataset.from_arrays(x, name="a<b")


@pytest.fixture(scope="module")
def latent(data):
    model = sl.Latent(hidden_dim=4, latent_dim=2)
    return model.fit(data, max_steps=1, hide=0.05, progress=False)


def test_a_model_is_the_call_that_makes_it():
    assert repr(sl.RNN()) == "RNN()"
    model = sl.RNN(hidden_dim=8, num_layers=1, emission="normal")
    assert repr(model) == "RNN(emission='normal', hidden_dim=8)"
    assert eval(repr(model), {"RNN": sl.RNN}).options == model.options
    many = sl.VRNN(
        hidden_dim=8, latent_dim=2, guide="cnn", objective="iwae", dropout=0.1, emission="normal",
        context_length=2, kl_anneal_steps=3, guide_layers=2, free_bits=0.0,
    )  # fmt: skip
    assert len(repr(many).splitlines()) == 2
    assert eval(repr(many), {"VRNN": sl.VRNN}).options == many.options


def test_a_fitted_model_has_a_line_more(latent, tmp_path):
    first, second = repr(latent).splitlines()
    assert first == "Latent(latent_dim=2, hidden_dim=4)"
    count = sum(p.numel() for p in latent.module.parameters())
    score = latent.result.valid_score
    assert second == (
        f"  fitted to: a<b; parameters: {count:,}; held-out score: {score:.4f} nats per step (smc)"
    )
    check(latent, "a<b", f"{count:,}")
    latent.save(tmp_path / "run")
    assert repr(sl.load_model(tmp_path / "run")).splitlines()[1] == second


def test_results_are_short(latent, data):
    check(latent.result, "1, the best at 1", "nats per step", latent.result.stopped)
    fc = latent.forecast(data, 9, num_samples=5)
    check(fc, "a<b", "(30)", "9", "5", "y")
    check(fc[3], "series '3'", "9, from 8 to 16", "5")
    found = latent.latents(data, num_samples=5)
    check(found, "(30)", "240", "2", "5")
    check(found.series[3], "series '3'", "8, from 0 to 7")
    smooth = latent.latents(data[:1], num_samples=5, posterior="smoothing")
    check(smooth.series[0], "effective samples", f"{smooth.series[0].ess:.1f}")
    filled = latent.impute(data, num_samples=5)
    check(filled, "2 values in 1 of 30 series", "5", "y")
    check(filled.series[0], "place 7", "2 values in 2 steps")
    looked = latent.inspect(data[:20], num_particles=2)
    numbers = (f"{looked.log_prob:.4f}", f"{looked.total_kl:.4f}")
    check(looked, "20 sequences", looked.headline, *numbers)


def test_exact_latents_say_so(data):
    flow = sl.Flow(hidden_dim=4).fit(data[10:], max_steps=1, progress=False)
    check(flow.latents(data[10:12]), "exact")


def test_many_targets_are_not_all_named(data):
    wide = SequenceDataset.from_arrays(np.zeros((1, 3, 88)))
    fc = SeriesForecast("0", np.arange(3), np.zeros((2, 3, 88)))
    check(sl.Forecast(wide, (fc,)), "y1, y2, y3, y4, ... (88)")
