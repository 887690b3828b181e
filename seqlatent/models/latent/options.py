"""Options of the latent-variable model, and which of them exclude each other."""

from dataclasses import dataclass, field

from seqlatent.errors import InputError
from seqlatent.models.emission_model import EmissionModelOptions
from seqlatent.models.latent.guide import CONDITIONINGS
from seqlatent.models.latent.guide_distribution import GUIDE_DISTRIBUTIONS
from seqlatent.models.latent.priors import PRIORS
from seqlatent.models.latent.transitions import TRANSITIONS
from seqlatent.nn.build import network_names

HISTORIES = ("auto", "last", "none", "all")
OBJECTIVES = ("auto", "elbo", "iwae", "fivo")


@dataclass(frozen=True)
class LatentOptions(EmissionModelOptions):
    latent_dim: int = field(
        default=8, metadata={"help": "number of latents of each step", "min": 1}
    )
    prior: str = field(
        default="conditional",
        metadata={
            "help": "prior of z_t: independent, N(0, I) at every step (by default with history "
            "last, p(x_t | x_{t-1}, z_t)); mixture, of normals; autoregressive, p(z_t | z_{<t}); "
            "or conditional, p(z_t | z_{<t}, x_{<t})",
            "choices": PRIORS,
        },
    )
    prior_components: int = field(
        default=8, metadata={"help": "components of a mixture prior", "min": 1, "max": 1000}
    )
    learn_prior: bool = field(
        default=True,
        metadata={"help": "whether a mixture prior is learned; else it stays as initialised"},
    )
    transition: str = field(
        default="gated",
        metadata={
            "help": "transition of an autoregressive or conditional prior: gated, a gated step "
            "from z_{t-1}; or rnn, a GRU over all of z_{<t}; if the prior is conditional, gated "
            "also sees x_{t-1} (x_{<t} with history=all), and rnn x_{<t}",
            "choices": TRANSITIONS,
        },
    )
    history: str = field(
        default="auto",
        metadata={
            "help": "past values that the emission p(x_t | history, z_t) sees: last, x_{t-1}; all, "
            "through a GRU; none; or auto: none with a conditional prior, else last",
            "choices": HISTORIES,
        },
    )
    guide: str = field(
        default="cnn",
        metadata={
            "help": "network of a guide q(z_t | x_{1:t}, z_{<t}) that does not correct the prior "
            "(guide_conditioning=noise or latents)",
            "choices": network_names,
        },
    )
    guide_conditioning: str = field(
        default="auto",
        metadata={
            "help": "what the guide sees of earlier latents: prior, the prior's mean and scale "
            "given them, which it corrects step by step; noise, the noise behind them (it samples "
            "all steps in parallel); latents, themselves (it samples step by step); or auto: prior "
            "if the latents depend on each other, else noise",
            "choices": CONDITIONINGS,
        },
    )
    guide_distribution: str = field(
        default="normal",
        metadata={
            "help": "distribution of each latent in the guide: normal, or transformed by the "
            "invertible map of the emission with the same name",
            "choices": tuple(GUIDE_DISTRIBUTIONS),
        },
    )
    smoothing: bool = field(
        default=False,
        metadata={"help": "whether the guide also sees later values, through a backward GRU"},
    )
    hidden_dim: int = field(
        default=64, metadata={"help": "size of the features of every network", "min": 1}
    )
    guide_layers: int = field(
        default=1,
        metadata={"help": "number of layers of the guide's network", "min": 1, "max": 20},
    )
    dropout: float = field(
        default=0.0,
        metadata={
            "help": "share of the features dropped in training: those of the emission and, with "
            "guide_conditioning=noise or latents, of the guide's network",
            "min": 0,
            "below": 1,
        },
    )
    objective: str = field(
        default="auto",
        metadata={
            "help": "training objective: elbo; iwae, the importance-weighted bound of several "
            "particles (step by step if the posterior factorises over time); fivo, that of "
            "resampled particles; auto: iwae if the posterior factorises, else elbo",
            "choices": OBJECTIVES,
        },
    )
    objective_particles: int = field(
        default=8,
        metadata={"help": "number of particles of objective=iwae or fivo", "min": 2},
    )
    kl_anneal_steps: int = field(
        default=100,
        metadata={
            "help": "number of training steps over which the KL weight rises to 1",
            "min": 0,
        },
    )
    free_bits: float = field(
        default=0.0,
        metadata={
            "help": "nats of KL per step that objective=elbo does not penalise",
            "min": 0,
        },
    )

    @property
    def seen_history(self) -> str:
        """The history, with `auto` resolved. An emission that sees the past can do without the
        latents; where the prior sees x_{t-1}, it need not."""
        if self.history != "auto":
            return self.history
        return "none" if self.prior == "conditional" else "last"

    @property
    def conditioning(self) -> str:
        """The guide's conditioning, with `auto` resolved."""
        if self.guide_conditioning != "auto":
            return self.guide_conditioning
        return "prior" if self.dependent else "noise"

    @property
    def dependent(self) -> bool:
        """Whether the prior of z_t depends on earlier latents."""
        return self.prior in ("autoregressive", "conditional")

    @property
    def bound(self) -> str:
        """The objective, with `auto` resolved. In our measurements the per-step importance bound
        trains better than the ELBO where it applies."""
        if self.objective != "auto":
            return self.objective
        return "elbo" if self.dependent or self.free_bits > 0 else "iwae"

    def __post_init__(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            InputError: with the reason.
        """
        if self.history == "none" and not self.dependent:
            raise InputError(
                f"history=none with prior={self.prior} has no memory at all: every step would be "
                "independent of the others; use prior=autoregressive, or history=last"
            )
        if self.conditioning == "prior" and not self.dependent:
            raise InputError(
                f"guide_conditioning=prior has nothing to correct with prior={self.prior}, which "
                "is the same at every step; use guide_conditioning=noise"
            )
        if self.smoothing and not self.dependent:
            raise InputError(
                f"smoothing=true has no use with prior={self.prior}: given x_{{1:t}}, z_t does "
                "not depend on later values; use prior=autoregressive or conditional"
            )
        if self.objective == "fivo" and not self.dependent:
            raise InputError(
                f"objective=fivo resamples over time, and with prior={self.prior} no latents "
                "depend on earlier ones; objective=iwae is the tight bound there"
            )
        if self.objective == "fivo" and self.smoothing:
            raise InputError(
                "objective=fivo resamples particles by past values only and would drop those that "
                "a smoothing guide chose for later values; use objective=iwae, or smoothing=false"
            )
        if self.free_bits > 0 and self.bound != "elbo":
            raise InputError(
                f"free_bits={self.free_bits:g} belongs to objective=elbo: {self.bound} has no "
                "KL term of its own"
            )

    def unused(self) -> dict[str, str]:
        """Options without effect given the others, and what each applies to."""
        unused = {}
        if self.prior != "mixture":
            unused |= dict.fromkeys(("prior_components", "learn_prior"), "prior=mixture")
        if not self.dependent:
            unused["transition"] = "prior=autoregressive or conditional"
        if self.conditioning == "prior":
            unused |= dict.fromkeys(
                ("guide", "guide_layers"), "guide_conditioning=noise or latents"
            )
        if self.bound == "elbo":
            unused["objective_particles"] = "objective=iwae or fivo"
        return unused
