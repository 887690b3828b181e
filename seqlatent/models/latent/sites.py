"""What Pyro needs of the model and its guide: parameters, plates and the sites' distributions.

Pyro trains the parameters in its global store, where it finds them by name. A second model with the
same names would silently not be trained: therefore each module, and each copy of one, gets a unique
name. Our own training does not use the store.
"""

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple
from weakref import WeakKeyDictionary

import pyro
from torch import Tensor, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.models.latent.guide import GuideDistribution, kl_to_prior
from seqlatent.models.latent.parts import Reading
from seqlatent.models.latent.priors import PriorDistribution

_counter = itertools.count(1)
_numbers: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def register(module: nn.Module, family: str) -> None:
    """Put a module's parameters into Pyro's store, with names such as
    `latent-1$$$head.linear.weight`; those with `requires_grad=False` are left out."""
    if module not in _numbers:
        _numbers[module] = next(_counter)
    pyro.module(f"{family}-{_numbers[module]}", module)


def unchecked() -> AbstractContextManager[None]:
    """Switch off the checks of Pyro and torch, and restore each setting afterwards:
    `pyro.validation_enabled` would leave torch's with the value of Pyro's."""
    return pyro.settings.context(
        validate_infer=False,
        validate_poutine=False,
        validate_distributions_pyro=False,
        validate_distributions_torch=False,
    )


@contextmanager
def sequences_and_steps(batch: SequenceBatch) -> Iterator[None]:
    """Plates for the batch and for time."""
    num_sequences, num_steps = batch.x.shape[:2]
    with (
        pyro.plate("sequences", num_sequences, dim=-2),
        pyro.plate("steps", num_steps, dim=-1),
    ):
        yield


class Sites(NamedTuple):
    """One reading of a batch, and the distributions of z in model and guide given it."""

    reading: Reading
    prior: PriorDistribution
    posterior: GuideDistribution

    def kl(self) -> Tensor:
        """(..., B, T) KL(guide || prior) at the guide's last sample, in nats: in closed form where
        there is one, elsewhere log q - log p."""
        try:
            return kl_to_prior(self.posterior, self.prior)
        except NotImplementedError:
            assert self.posterior.sampled is not None
            z, _, log_q = self.posterior.sampled
            return log_q - self.prior.log_prob(z)
