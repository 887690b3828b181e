"""Well-known models, as presets of the latent-variable model's options.

    preset   prior                        emission sees      guide          after
    vrnn     p(z_t | z_{<t}, x_{<t})      x_{<t}, z_{<=t}    filtering      Chung et al. 2015
    srnn     p(z_t | z_{t-1}, x_{<t})     x_{<t}, z_t        smoothing      Fraccaro et al. 2016
    dmm      p(z_t | z_{t-1})             z_t                smoothing      Krishnan et al. 2017

All three differ from the papers in two respects. The guide is a separate network, conditioned on
the noise behind z_{<t} instead of the prior's state, so that all steps are sampled in one pass
(`guide_conditioning=prior` lets it correct the prior); and the emission is chosen to suit the data.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.options import LatentOptions


def _default(name: str, value: Any) -> Any:
    """A field of `LatentOptions` with another default."""
    original = next(f for f in fields(LatentOptions) if f.name == name)
    return field(default=value, metadata=original.metadata)


@dataclass(frozen=True)
class VRNNOptions(LatentOptions):
    transition: str = _default("transition", "rnn")
    history: str = _default("history", "all")
    guide_conditioning: str = _default("guide_conditioning", "noise")
    guide: str = _default("guide", "rnn")
    kl_anneal_steps: int = _default("kl_anneal_steps", 200)


@dataclass(frozen=True)
class SRNNOptions(LatentOptions):
    history: str = _default("history", "all")
    guide: str = _default("guide", "rnn")
    kl_anneal_steps: int = _default("kl_anneal_steps", 200)
    guide_conditioning: str = _default("guide_conditioning", "noise")
    smoothing: bool = _default("smoothing", True)


@dataclass(frozen=True)
class DMMOptions(LatentOptions):
    prior: str = _default("prior", "autoregressive")
    history: str = _default("history", "none")
    guide: str = _default("guide", "rnn")
    kl_anneal_steps: int = _default("kl_anneal_steps", 200)
    guide_conditioning: str = _default("guide_conditioning", "noise")
    smoothing: bool = _default("smoothing", True)


class VRNNModel(LatentModel):
    """The variational RNN: likelihood by sequential Monte Carlo (Chung et al. 2015).

        p(z_t | z_{<t}, x_{<t}) p(x_t | z_{<=t}, x_{<t}),    both from a GRU over (x_{<t}, z_{<t})

    Use it where unobserved causes have their own memory, such as volatility or regimes.
    """

    family, Options = "vrnn", VRNNOptions


class SRNNModel(LatentModel):
    """The stochastic RNN: likelihood by sequential Monte Carlo (Fraccaro et al. 2016).

        p(z_t | z_{t-1}, x_{<t}) p(x_t | z_t, x_{<t}),    a GRU over x_{<t} under a chain of latents

    Use it like vrnn, where the chain of latents should be separate from the memory of the values.
    Its guide also sees later values.
    """

    family, Options = "srnn", SRNNOptions


class DMMModel(LatentModel):
    """The deep Markov model: likelihood by sequential Monte Carlo (Krishnan et al. 2017).

        p(z_t | z_{t-1}) p(x_t | z_t),    x_t depends on the past through z_t alone

    Use it where the latents should be the whole state. Its guide also sees later values.
    """

    family, Options = "dmm", DMMOptions
