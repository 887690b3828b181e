"""Simulated processes with known likelihood, to measure models against.

A process samples sequences and gives the log-likelihood of each: exact, or for `kind` "smc" an
estimate by many particles of the process itself. In expectation no model can
beat it. The distance to it, the *regret*, says how much a fitted model has left to learn; zero is
perfect:

    regret = [ sum_n log p_process(x^n_{1:T}) - sum_n log p_model(x^n_{1:T}) ] / number of steps

in nats per step, over held-out sequences. Its expectation is KL(process || model) per step. To
measure it, fit a model to one sample and score another:

    process = PROCESSES["switching-ar"]()
    train, test = process.sample(500, 100, seed=0), process.sample(500, 100, seed=1)
    difference = process.log_prob(test) - model_log_prob        # (N,), one for each test sequence
    regret = difference.sum() / test.lengths.sum()

The differences are paired, so the standard error of the regret comes from their spread, not from
that of the log-likelihoods themselves. If a model reports a lower bound, its regret is overstated
by the gap of the bound.

A `StateProcess` has hidden states. It samples them with the values (`sample_with_states`) and
infers them from the values (`filter`, `smooth`): what a model's latents can be held against.

Every process is causal: it gives log p(x_t | x_{<t}) for each step, and these sum to
log p(x_{1:T}). A new process needs one subclass of `Process` with `_sample` and
`_log_prob_steps`, and one line in `PROCESSES`; one with hidden states is a `ChainProcess`, a
`ParticleProcess`, or another `StateProcess`.
"""

from seqlatent.processes.base import Process
from seqlatent.processes.continuous import (
    AutoregressiveTwo,
    Banana,
    Garch,
    SkewedAutoregressive,
)
from seqlatent.processes.discrete import CoupledBinary, OrderTwoChain, PoissonCounts
from seqlatent.processes.dynamics import Lorenz, Pendulum
from seqlatent.processes.hidden import StateProcess
from seqlatent.processes.linear_gaussian import LinearGaussianProcess, SlowTrend
from seqlatent.processes.regimes import HiddenMarkov, SwitchingAutoregressive, SwitchingRegimes

__all__ = [
    "PROCESSES",
    "AutoregressiveTwo",
    "Banana",
    "CoupledBinary",
    "Garch",
    "HiddenMarkov",
    "LinearGaussianProcess",
    "Lorenz",
    "OrderTwoChain",
    "Pendulum",
    "PoissonCounts",
    "Process",
    "SkewedAutoregressive",
    "SlowTrend",
    "StateProcess",
    "SwitchingAutoregressive",
    "SwitchingRegimes",
]

PROCESSES: dict[str, type[Process]] = {
    "ar2": AutoregressiveTwo,
    "linear-gaussian": LinearGaussianProcess,
    "switching-ar": SwitchingAutoregressive,
    "counts": PoissonCounts,
    "hmm": HiddenMarkov,
    "coupled-binary": CoupledBinary,
    "order-two-chain": OrderTwoChain,
    "garch": Garch,
    "skewed-ar": SkewedAutoregressive,
    "banana": Banana,
    "pendulum": Pendulum,
    "switching-regimes": SwitchingRegimes,
    "lorenz": Lorenz,
    "slow-trend": SlowTrend,
}
