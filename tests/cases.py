"""A small case of every registered network, emission and model, to test the common laws with.

A new network, emission or model needs one line here.
"""

import functools
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from foreign import import_example

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.models.base import SequenceModel
from seqlatent.models.flow.model import FlowModel
from seqlatent.models.latent.model import LatentModel
from seqlatent.models.mixture import MixtureModel, MixtureOptions
from seqlatent.models.registry import MODELS as REGISTRY
from seqlatent.models.registry import build_model
from seqlatent.nn import build_network
from seqlatent.nn.attention import CausalTransformer
from seqlatent.nn.causal import CausalNetwork
from seqlatent.nn.convolution import Convolution
from seqlatent.nn.feedforward import WindowMLP
from seqlatent.nn.recall import Recall
from seqlatent.nn.recurrent import Recurrent
from seqlatent.options import make

H = 3  # steps of the windows that tests of evaluations share

import_example()  # a package of its own: all laws hold for what it adds

NETWORKS: dict[str, Callable[[], CausalNetwork]] = {
    "gru": lambda: Recurrent(3, 8),
    "gru-deep": lambda: Recurrent(3, 8, num_layers=3, norm="layer", residual=True),
    "lstm": lambda: Recurrent(3, 8, num_layers=2, cell="lstm"),
    "mingru": lambda: Recurrent(3, 8, num_layers=2, cell="mingru"),
    "ssd": lambda: Recurrent(3, 8, cell="ssd"),
    "cnn": lambda: Convolution(3, 8, num_layers=2),
    "cnn-norm": lambda: Convolution(
        3, 8, num_layers=3, kernel_size=2, activation="elu", norm="layer", residual=False
    ),
    "transformer": lambda: CausalTransformer(3, 8, num_layers=2, num_heads=2),
    "transformer-short": lambda: CausalTransformer(
        3, 8, num_layers=2, num_heads=2, attention_window=3
    ),
    "recall": lambda: Recall(Recurrent(3, 8), num_heads=2),
    "recall-short": lambda: Recall(Convolution(3, 8, num_layers=2), num_heads=2, window=3),
    "mlp": lambda: WindowMLP(3, 8, num_lags=3),
    "ema": lambda: build_network("ema", 3, 8),
}

EMISSIONS: dict[str, str] = {  # emission: the kind of data that it is for
    "normal": "real",
    "student-t": "real",
    "mixture": "real",
    "covariance-mixture": "real",
    "sinh-arcsinh": "real",
    "spline": "real",
    "sinh-arcsinh-spline": "real",
    "bernoulli": "binary",
    "subset": "binary",
    "categorical": "category",
    "ordinal": "category",
    "poisson": "count",
    "negative-binomial": "count",
    "zero-inflated": "count",
    "mixed": "real",
    "laplace": "real",
}

# Latents that are independent of each other: the literal form of the latent-variable model.
INDEPENDENT = {"hidden_dim": 8, "latent_dim": 2, "prior": "independent"}

MODELS: dict[str, tuple[str, dict]] = {
    "rnn": ("rnn", {"hidden_dim": 8}),
    "rnn-recall": ("rnn", {"hidden_dim": 8, "recall_heads": 2, "recall_window": 5}),
    "rnn-mingru": ("rnn", {"hidden_dim": 8, "cell": "mingru"}),
    "rnn-ssd": ("rnn", {"hidden_dim": 8, "cell": "ssd"}),
    "transformer": ("transformer", {"hidden_dim": 8, "num_heads": 2}),
    "cnn": ("cnn", {"hidden_dim": 8, "num_layers": 2}),
    "linear-gaussian": ("linear-gaussian", {"latent_dim": 3}),
    "switching": ("switching", {"transitions": "past"}),
    "switching-all": ("switching", {"history": "all", "hidden_dim": 8}),
    "switching-none": ("switching", {"history": "none", "num_states": 2}),
    "smoother": ("smoother", {"hidden_dim": 8}),
    "flow": ("flow", {"hidden_dim": 8, "emission": "sinh-arcsinh-spline"}),
    "flow-cnn": ("flow", {"hidden_dim": 8, "network": "cnn", "emission": "spline"}),
    "flow-latents": (
        "flow",
        {"hidden_dim": 8, "condition_on": "latents", "emission": "sinh-arcsinh"},
    ),
    "flow-coupling": ("flow", {"hidden_dim": 8, "channels": "coupling", "emission": "spline"}),
    "flow-learned": (
        "flow",
        {
            "hidden_dim": 8,
            "channels": "coupling",
            "coupling_order": "learned",
            "condition_on": "latents",
            "emission": "normal",
        },
    ),
    "flow-base": (
        "flow",
        {"hidden_dim": 8, "base": "autoregressive", "emission": "sinh-arcsinh"},
    ),
    "diffusion": ("diffusion", {"hidden_dim": 8, "denoiser_dim": 8}),
    "diffusion-cnn": (
        "diffusion",
        {"hidden_dim": 8, "denoiser_dim": 8, "network": "cnn", "schedule": "linear"},
    ),
    "diffusion-blocks": ("diffusion", {"hidden_dim": 8, "denoiser_dim": 8, "block": 3}),
    "latent": ("latent", {"hidden_dim": 8, "latent_dim": 2}),
    "latent-bent": ("latent", {"hidden_dim": 8, "latent_dim": 2, "guide_distribution": "spline"}),
    "vrnn-bent": ("vrnn", {"hidden_dim": 8, "latent_dim": 2, "guide_distribution": "sinh-arcsinh"}),
    "latent-last": ("latent", {**INDEPENDENT, "history": "last"}),
    "latent-all": ("latent", {**INDEPENDENT, "history": "all"}),
    "latent-rnn": ("latent", {**INDEPENDENT, "guide": "rnn"}),
    "latent-mixture": ("latent", {**INDEPENDENT, "prior": "mixture", "history": "all"}),
    "latent-elbo": ("latent", {**INDEPENDENT, "objective": "elbo"}),
    "latent-mlp": ("latent", {**INDEPENDENT, "guide": "mlp"}),
    "latent-transformer": ("latent", {**INDEPENDENT, "guide": "transformer"}),
    "latent-bent-independent": ("latent", {**INDEPENDENT, "guide_distribution": "spline"}),
    "latent-sequential": (
        "latent",
        {"hidden_dim": 8, "latent_dim": 2, "prior": "autoregressive", "history": "last"},
    ),
    "latent-recurrent": (
        "latent",
        {"hidden_dim": 8, "latent_dim": 2, "transition": "rnn", "history": "last"},
    ),
    "latent-smoothing": ("latent", {"hidden_dim": 8, "latent_dim": 2, "smoothing": True}),
    "vrnn": ("vrnn", {"hidden_dim": 8, "latent_dim": 2}),
    "vrnn-fivo": ("vrnn", {"hidden_dim": 8, "latent_dim": 2, "objective": "fivo"}),
    "vrnn-ancestral": (
        "vrnn",
        {"hidden_dim": 8, "latent_dim": 2, "guide_conditioning": "latents", "objective": "iwae"},
    ),
    "srnn": ("srnn", {"hidden_dim": 8, "latent_dim": 2, "free_bits": 0.01}),
    "dmm": ("dmm", {"hidden_dim": 8, "latent_dim": 2}),
    "latent-ancestral": ("latent", {**INDEPENDENT, "guide_conditioning": "latents"}),
    "mixture": ("mixture", {"parts": ("rnn", "flow", "linear-gaussian"), "emission": "mixture"}),
    "mixture-moving": ("mixture", {"parts": ("rnn", "cnn", "rnn"), "weights": "moving"}),
}

# Models without a density, which have laws of their own: tests/test_laws_unscored.py.
UNSCORED: dict[str, tuple[str, dict]] = {
    "gan": ("gan", {"hidden_dim": 8, "critic_dim": 8, "critic_window": 4}),
    "wgan": ("wgan", {"hidden_dim": 8, "critic_dim": 8, "critic_window": 4}),
    "autoencoder": ("autoencoder", {"hidden_dim": 8, "window": 3, "latent_dim": 2}),
    "autoencoder-causal": (
        "autoencoder",
        {
            "hidden_dim": 8,
            "window": 4,
            "latent_dim": 1,
            "encoder": "causal",
            "network": "cnn",
            "error": "huber",
        },
    ),
    "autoencoder-linear": (
        "autoencoder",
        {"hidden_dim": 8, "window": 3, "latent_dim": 2, "num_layers": 0, "scaling": "running"},
    ),
}


def values(kind: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Values of a kind, in data units: real ones have mean 20 and standard deviation 3."""
    rng = np.random.default_rng(seed)
    if kind == "real":
        return 20 + 3 * rng.normal(size=shape)
    if kind == "binary":
        return rng.integers(0, 2, shape).astype(float)
    if kind == "category":
        return rng.integers(0, 4, shape).astype(float)
    return rng.poisson(5.0, shape).astype(float)


def dataset(kind: str = "real", channels: int = 1, num: int = 6, steps: int = 7, seed: int = 0):
    """Sequences of different lengths, at most `steps`."""
    x = values(kind, (num, steps, channels), seed)
    return SequenceDataset.from_list([x[i, : steps - i % 3] for i in range(num)])


def emissions(name: str) -> tuple[str, ...]:
    """The emissions that a case of `MODELS` can have."""
    family, own = MODELS[name]
    return emissions(own["parts"][0]) if "parts" in own else REGISTRY[family].emission_names()


def first_quick(names: Iterable[str]) -> list:
    """Cases of `MODELS` as parameters of a test that takes seconds of each: the first case of a
    family is in the quick suite, its variants are `slow`."""
    params, families = [], set()
    for name in names:
        family = MODELS[name][0]
        params.append(pytest.param(name, marks=[pytest.mark.slow] * (family in families)))
        families.add(family)
    return params


def model(name: str, emission: str = "", data: SequenceDataset | None = None, **options):
    """A case of `MODELS` with random parameters far from their initial values.

    Its emission is `emission` or that of the case; by default a mixture of normals if it can have
    one.
    """
    family, own = MODELS[name]
    usual = "mixture" if "mixture" in emissions(name) else emissions(name)[0]
    emission = emission or own.get("emission", usual)
    data = data or dataset(EMISSIONS[emission])
    if "parts" in own:
        return mixture(own, "" if "emission" in own else emission, data)
    sizes = {"num_components": 3, "num_bins": 4, "channel_dim": 4}
    chosen = {**own, "emission": emission, **options}
    unused = REGISTRY[family].unused_options(make(REGISTRY[family].Options, chosen))
    chosen |= {k: v for k, v in sizes.items() if k not in unused and k not in chosen}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = make(REGISTRY[family].Options, chosen)
        built = build_model(family, made, DataDescription.of(data, made.season))
        stir(built, 0.2)
        if isinstance(built, LatentModel):
            # Weights of a random guide have no finite variance: keep guide and prior close to each
            # other, as trained ones are.
            for p in (*built.guide_network.parameters(), *built.prior.parameters()):
                p.data.mul_(0.3)
        if isinstance(built, FlowModel) and not built.in_parallel:
            # Fed back through extreme maps, latents diverge, and densities of e^-10^9 underflow.
            for p in built.head.parameters():
                p.data.mul_(0.5)
    return built.eval()


@functools.cache
def example(name: str) -> SequenceModel:
    """A case of `MODELS` that nobody changes, to see what it can do."""
    return model(name)


def unscored(name: str, data: SequenceDataset | None = None, **options) -> SequenceModel:
    """A case of `UNSCORED` with random parameters far from their initial values."""
    family, own = UNSCORED[name]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = make(REGISTRY[family].Options, {**own, **options})
        built = build_model(family, made, DataDescription.of(data or dataset(), made.season))
        stir(built, 0.2)
    return built.eval()


def mixture(own: dict, emission: str, data: SequenceDataset) -> MixtureModel:
    """A mixture of cases with unequal weights; equal members differ in their parameters."""
    parts = [model(name, emission, data) for name in own["parts"]]
    chosen = MixtureOptions(own.get("weights", "fixed"))
    with torch.random.fork_rng():
        torch.manual_seed(2)
        stir(parts[-1], 0.05)
        made = MixtureModel(chosen, parts[0].description, parts)
        made.log_weights.copy_(torch.tensor([0.5, 0.2, 0.3]).log())
    return made.eval()


def stir(module: torch.nn.Module, size: float = 0.3) -> None:
    """Perturb every parameter, so that no law holds only because a weight is still zero."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(size * torch.randn_like(p))


def without_gradient(module: SequenceModel | torch.nn.Module) -> list[str]:
    """Names of the parameters without a finite, nonzero gradient."""
    return [
        name
        for name, p in module.named_parameters()
        if p.grad is None or not torch.isfinite(p.grad).all() or not (p.grad != 0).any()
    ]
