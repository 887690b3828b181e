"""The result of an inspection of latents: numbers, text and a picture."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset
from seqlatent.inference.diagnostics import collapse_warning
from seqlatent.plots import plot_inspection
from seqlatent.text import Summary, counted, text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACTIVE = 0.01  # least variance over the data of an active latent's mean (Burda et al. 2016)


@dataclass(frozen=True, eq=False, repr=False)
class Inspection(Summary):
    """The result of `inspect`; KLs and log-probabilities are in nats per scored step.

    Attributes:
        family: name of the model.
        kl, total_kl: (Z,) KL(q || prior) of each latent, and that of all latents.
        exact_kl: whether these are closed forms, as they are if guide and prior are normal. Else
            they are averages over samples, and `kl` is against the marginals of the prior.
        variance: (Z,) variance over the data of the mean of q(z_k | x).
        kl_over_time: (T, Z) KL by step, averaged over the sequences.
        log_prob, elbo: of the data; `kind` and `num_particles` describe the estimate `log_prob`.
        gap: KL(q(z | x) || p(z | x)).
        reverse_gap: KL(p(z | x) || q(z | x)); None if the model cannot sample sequences without a
            history, for the reason `why_not`.
        reconstruction: by target, the root mean square of x_t - E[x_t | history, z_t] with z from
            the guide, and the standard deviation of the values.
        posterior_samples, prior_samples: (N, Z) latents of all sequences and steps; a prior that
            depends on earlier latents is sampled given those of the guide.
        reconstructed: the frame of `reconstruct` for the first sequence.
        data: the sequences that were used.

    The standard errors of estimates have the same names with `_error`; None where they cannot be
    told.
    """

    family: str
    kl: np.ndarray
    total_kl: float
    exact_kl: bool
    variance: np.ndarray
    kl_over_time: np.ndarray
    log_prob: float
    log_prob_error: float | None
    kind: str
    num_particles: int
    elbo: float
    elbo_error: float
    reverse_gap: float | None
    reverse_gap_error: float | None
    why_not: str
    reconstruction: dict[str, tuple[float, float]]
    posterior_samples: np.ndarray
    prior_samples: np.ndarray
    reconstructed: pd.DataFrame
    data: SequenceDataset

    @property
    def gap(self) -> float:
        return self.log_prob - self.elbo

    @property
    def gap_error(self) -> float | None:
        if self.log_prob_error is None:
            return None
        return math.hypot(self.log_prob_error, self.elbo_error)

    @property
    def active(self) -> np.ndarray:
        """(Z,) bool, which latents are active."""
        return self.variance > ACTIVE

    @property
    def warning(self) -> str:
        """A warning if the latents are unused; else empty."""
        return collapse_warning(self.total_kl)

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        return f"Inspection of a {self.family} model", [
            ("data", f"{self.data.name}, {counted(len(self.data), 'sequence')}"),
            ("active latents", f"{int(self.active.sum())} of {len(self.kl)}"),
            ("log p(x)", f"{self.log_prob:.4f} nats per step ({self.kind})"),
            ("KL(q || prior)", f"{self.total_kl:.4f} nats per step"),
            ("KL(q(z|x) || p(z|x))", f"{self.gap:.4f} nats per step"),
        ]

    def to_dict(self) -> dict[str, Any]:
        """The numbers, for JSON."""
        names = ("total_kl", "exact_kl", "log_prob", "log_prob_error", "kind", "num_particles",
                 "elbo", "elbo_error", "gap", "gap_error", "reverse_gap",
                 "reverse_gap_error")  # fmt: skip
        return {
            "family": self.family,
            "num_sequences": len(self.data),
            "latents": [
                {"name": f"z{k + 1}", "kl": float(self.kl[k]), "variance": float(self.variance[k]),
                 "active": bool(self.active[k])}
                for k in range(len(self.kl))
            ],
            "active_units": int(self.active.sum()),
            **{name: getattr(self, name) for name in names},
            "reconstruction": {
                target: {"rmse": rmse, "scale": scale}
                for target, (rmse, scale) in self.reconstruction.items()
            },
            "warning": self.warning or None,
        }  # fmt: skip

    def to_text(self) -> str:
        """The numbers as text."""
        rows = [
            [f"z{k + 1}", float(self.kl[k]), float(self.variance[k]), "yes" if used else "no"]
            for k, used in enumerate(self.active)
        ]
        exact = "" if self.exact_kl else ", by sampling: guide and prior are not both normal"
        lines = [
            f"{self.family} on {counted(len(self.data), 'sequence')}: "
            f"{int(self.active.sum())} of {counted(len(rows), 'latent')} active",
            "",
            text_table(rows, ["latent", "KL(q || prior)", "variance of the mean", "active"]),
            "",
            "nats per step (standard error)",
            f"  KL(q || prior)            {self.total_kl:9.4f}{exact}",
            f"  log p(x)                  {self.log_prob:9.4f} ({_error(self.log_prob_error)}), "
            f"{self.kind} of {counted(self.num_particles, 'particle')}",
            f"  ELBO                      {self.elbo:9.4f} ({self.elbo_error:.4f})",
            f"  KL(q(z|x) || p(z|x))      {self.gap:9.4f} ({_error(self.gap_error)}), on the data: "
            "log p(x) - ELBO",
        ]
        if self.reverse_gap is None:
            lines.append(f"  KL(p(z|x) || q(z|x))      not known: {self.why_not}")
        else:
            lines.append(
                f"  KL(p(z|x) || q(z|x))      {self.reverse_gap:9.4f} "
                f"({self.reverse_gap_error:.4f}), on sequences sampled from the model"
            )
        if self.reconstruction:
            lines += ["", "reconstruction: root mean square error (the values' standard deviation)"]
            lines += [
                f"  {target}  {rmse:.4g} ({scale:.4g})"
                for target, (rmse, scale) in self.reconstruction.items()
            ]
        return "\n".join(lines)

    def plot(self, path: str | Path | None = None) -> "Figure":
        """Draw all results in one picture; see `seqlatent.plots.inspection.plot_inspection`."""
        return plot_inspection(
            self.kl,
            self.total_kl,
            self.active,
            self.kl_over_time,
            self.posterior_samples,
            self.prior_samples,
            self.reconstructed,
            path,
        )


def _error(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
