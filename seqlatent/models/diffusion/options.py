"""Options of the diffusion model."""

from dataclasses import dataclass, field

from seqlatent.models.diffusion.schedule import SCHEDULES
from seqlatent.models.past_network import PastNetworkOptions

SAMPLERS = ("ode", "ancestral")


@dataclass(frozen=True)
class DiffusionOptions(PastNetworkOptions):
    block: int = field(
        default=1,
        metadata={
            "help": "steps that are denoised together, given those before them: 1, step by step; "
            "as many as a sequence has, all at once",
            "min": 1,
        },
    )
    denoiser_dim: int = field(
        default=64, metadata={"help": "size of the denoiser's two hidden layers", "min": 1}
    )
    schedule: str = field(
        default="cosine",
        metadata={
            "help": "how the noise grows from one level to the next: how often each is seen in "
            "training, and the levels of sampler=ancestral",
            "choices": SCHEDULES,
        },
    )
    beta_max: float = field(
        default=20.0,
        metadata={"help": "rate of the noise at the end of schedule=linear", "above": 0},
    )
    num_levels: int | None = field(
        default=None,
        metadata={"help": "noise levels seen in training (default: all, without steps)", "min": 2},
    )
    sampler: str = field(
        default="ode",
        metadata={
            "help": "ode, few steps, whose samples follow the density that scores are of; or "
            "ancestral, new noise at every step",
            "choices": SAMPLERS,
        },
    )
    sampling_steps: int = field(
        default=6,
        metadata={"help": "steps of the sampler; sampler=ancestral needs 50 or more", "min": 1},
    )
    scoring_steps: int = field(
        default=16,
        metadata={"help": "steps of the solver of likelihoods; half as many give its error",
                  "min": 2},
    )  # fmt: skip
