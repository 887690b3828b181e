"""Fits of a small case of every family, to be run by one process or by several together:

    torchrun --nproc_per_node 2 tests/fits_of_processes.py OUT.json CASE ...

The held-out scores of each case after every validation go to a file."""

import json
import sys
from pathlib import Path

import numpy as np

import seqlatent as sl
from seqlatent.training.parallel import is_main_process

STEPS = 200
SMALL = {"hidden_dim": 12, "scaling": "global"}
LATENT = {**SMALL, "latent_dim": 2}
CASES: dict[str, tuple[str, dict]] = {
    "rnn": ("RNN", SMALL),
    "cnn": ("CNN", SMALL),
    "transformer": ("Transformer", SMALL),
    "linear-gaussian": ("LinearGaussian", {"latent_dim": 2, "scaling": "global"}),
    "switching": ("Switching", {"num_states": 2, "scaling": "global"}),
    "flow": ("Flow", SMALL),
    "diffusion": ("Diffusion", {**SMALL, "denoiser_dim": 12}),
    "latent": ("Latent", LATENT),
    "latent-elbo": ("Latent", {**LATENT, "objective": "elbo", "free_bits": 0.1}),
    "latent-independent": ("Latent", {**LATENT, "prior": "independent"}),
    "vrnn": ("VRNN", LATENT),
    "srnn": ("SRNN", LATENT),
    "dmm": ("DMM", LATENT),
    "autoencoder": ("Autoencoder", {**SMALL, "window": 4, "latent_dim": 2}),
    "gan": ("GAN", {**SMALL, "critic_dim": 12, "critic_window": 6, "start_steps": 20}),
    "wgan": ("WGAN", {**SMALL, "critic_dim": 12, "critic_window": 6, "start_steps": 20}),
}


def series(num: int = 36, seed: int = 0) -> list[np.ndarray]:
    """Autoregressions of two channels and of 6 to 28 steps, some steps of which are missing."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(num):
        x = np.zeros((int(rng.integers(6, 29)), 2))
        for t in range(len(x)):
            x[t] = 0.8 * (x[t - 1][::-1] if t else 0) + rng.normal(size=2)
        x[rng.random(len(x)) < 0.05] = np.nan
        found.append(x)
    return found


def fit(case: str, steps: int = STEPS, **others):
    name, options = CASES[case]
    values = {"max_steps": steps, "eval_every": 50, "seed": 0, "device": "cpu", **others}
    return getattr(sl, name)(**options).fit(series(), valid=0.3, progress=False, **values)


if __name__ == "__main__":
    out, *cases = sys.argv[1:]
    scores = {}
    for case in cases or CASES:
        result = fit(case).result
        scores[case] = [row[f"valid_{result.score_name}"] for row in result.curve]
    if is_main_process():
        Path(out).write_text(json.dumps(scores))
