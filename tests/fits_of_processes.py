"""Small fits of every family, to be made by one process or by several together, which is to be the
same but for rounding; in double precision, where it is still small after 200 steps.

    torchrun --nproc_per_node 2 tests/fits_of_processes.py OUT.json STEPS CASE ...
    torchrun --nproc_per_node 2 tests/fits_of_processes.py --killed RUN CASE STEPS

The file has the held-out scores of each case, one for every validation. With `--killed` the second
process kills itself on the way, and a checkpoint is left in RUN."""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

import seqlatent as sl
from seqlatent.training import fitting
from seqlatent.training.parallel import is_main_process

KILLED = 12  # step before which a fit is killed


def series(num: int = 36, shortest: int = 6, longest: int = 28) -> list[np.ndarray]:
    """Autoregressions of two channels, some steps of which are missing."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(num):
        x = np.zeros((int(rng.integers(shortest, longest + 1)), 2))
        for t in range(len(x)):
            x[t] = 0.8 * (x[t - 1][::-1] if t else 0) + rng.normal(size=2)
        x[rng.random(len(x)) < 0.05] = np.nan
        found.append(x)
    return found


def long_series() -> list[np.ndarray]:
    """Two, which are cut into windows."""
    return [np.nan_to_num(x).cumsum(0) for x in series(2, 300, 400)]


def rolls() -> list[np.ndarray]:
    """0 and 1."""
    return [(np.nan_to_num(x).repeat(2, 1) > 0.3).astype(float) for x in series(20)]


class Case(NamedTuple):
    model: str
    options: Mapping[str, Any]
    training: Mapping[str, Any] = MappingProxyType({})
    data: Callable[[], list[np.ndarray]] = series


SMALL = {"hidden_dim": 12, "scaling": "global"}
LATENT = {**SMALL, "latent_dim": 2}
INDEPENDENT = {**LATENT, "prior": "independent"}
WINDOWS = {**SMALL, "critic_dim": 12, "critic_window": 6}
FAMILIES = {
    "rnn": Case("RNN", SMALL),
    "cnn": Case("CNN", SMALL),
    "transformer": Case("Transformer", SMALL),
    "linear-gaussian": Case("LinearGaussian", {"latent_dim": 2, "scaling": "global"}),
    "switching": Case("Switching", {"num_states": 2, "scaling": "global"}),
    "flow": Case("Flow", SMALL),
    "diffusion": Case("Diffusion", {**SMALL, "denoiser_dim": 12}),
    "latent": Case("Latent", LATENT),
    "latent-independent": Case("Latent", INDEPENDENT),
    "vrnn": Case("VRNN", LATENT),
    "srnn": Case("SRNN", {**LATENT, "free_bits": 0.5}),
    "dmm": Case("DMM", LATENT),
    "autoencoder": Case("Autoencoder", {**SMALL, "window": 4, "latent_dim": 2}),
    "gan": Case("GAN", {**WINDOWS, "start_steps": 2}),
    "wgan": Case("WGAN", {**WINDOWS, "start_steps": 2, "critic_steps": 2}),
}
DROPPED = {**SMALL, "dropout": 0.2}
ROLL = {"hidden_dim": 12, "channel_dropout": 0.2}
PENALTIES = {"l1": 1e-3, "l2": 1e-3, "average": 0.9}
OPTIONS = {
    "rnn-dropout": Case("RNN", {**DROPPED, "num_layers": 2, "recall_heads": 2}),
    "rnn-input-dropout": Case("RNN", {**SMALL, "input_dropout": 0.2}),
    "cnn-dropout": Case("CNN", DROPPED),
    "transformer-dropout": Case("Transformer", DROPPED),
    "latent-dropout": Case("Latent", {**INDEPENDENT, "dropout": 0.2}),
    "channel-dropout": Case(
        "RNN", {**SMALL, "channels": "autoregressive", "channel_dim": 8, "channel_dropout": 0.2}
    ),
    "subset-dropout": Case("RNN", {**ROLL, "emission": "subset"}, {}, rolls),
    "transposed": Case("RNN", {"hidden_dim": 12}, {"shift_channels": 1, "hide": 0.1}, rolls),
    "augmented": Case("RNN", SMALL, {"noise": 0.1, "hide": 0.1, **PENALTIES}),
    "iwae": Case("VRNN", {**LATENT, "objective": "iwae"}),
    "fivo": Case("VRNN", {**LATENT, "objective": "fivo"}),
    "running": Case("RNN", {**SMALL, "scaling": "running"}, {}, long_series),
    "diffusion-windows": Case("Diffusion", {**SMALL, "denoiser_dim": 12}, {}, long_series),
    "gan-windows": Case("GAN", {**WINDOWS, "start_steps": 2}, {}, long_series),
}
# Batches of one sequence, so that the second process is left without.
SINGLE = {f"{name}-single": c._replace(training={"batch_size": 1}) for name, c in FAMILIES.items()}
# Short fits of 100 steps or more, and a fit proper that stops before rounding has grown.
SOON = {"patience": 1, "max_decays": 0, "eval_every": 50}
CHOICES = {
    "chosen": Case("RNN", {"hidden_dim": 6}, SOON),
    "members": Case("RNN", {"hidden_dim": 6}, {**SOON, "members": 2}),
}
CASES = FAMILIES | OPTIONS | SINGLE | CHOICES


def fit(case: str, steps: int, **others: Any) -> list[float]:
    """The held-out scores of a fit, one for every validation."""
    model, options, training, data = CASES[case]
    training = {"valid": 0.3, "max_steps": steps, "eval_every": max(1, steps // 2), **training}
    fitted = getattr(sl, model)(**options)
    result = fitted.fit(data(), device="cpu", progress=False, **training, **others).result
    return [row[f"valid_{result.score_name}"] for row in result.curve]


def killed(run: str, case: str, steps: str) -> None:
    """Fit with a checkpoint before every step but the first; the last process kills itself."""
    fitting.CHECKPOINT_SECONDS = 0.0
    whole = fitting.Trainer.train_step

    def train_step(self: fitting.Trainer, progress: float) -> None:
        if self.step == KILLED and not is_main_process():
            os.kill(os.getpid(), signal.SIGKILL)
        whole(self, progress)

    fitting.Trainer.train_step = train_step
    fit(case, int(steps), run=run)


def main(out: str, steps: str, *cases: str) -> None:
    scores = {case: fit(case, int(steps)) for case in cases}
    if is_main_process():
        Path(out).write_text(json.dumps(scores))


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    if sys.argv[1] == "--killed":
        killed(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
