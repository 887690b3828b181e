"""The result of an inspection of latents: numbers, text and a picture."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset
from seqlatent.models.latent.replacing import Losses
from seqlatent.plots import plot_inspection
from seqlatent.tasks.headline import headline, is_used, memories, roles
from seqlatent.text import Summary, counted, text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Inspection(Summary):
    """The result of `inspect`; KLs and log-probabilities are in nats per scored step.

    Attributes:
        family: name of the model.
        kl, total_kl: (Z,) KL(q || prior) of each latent, and that of all latents.
        exact_kl: whether these are closed forms, as they are if guide and prior are normal. Else
            they are averages over samples, and `kl` is against the marginals of the prior.
        predictable: (Z,) how well the past predicts each latent, R^2 between 0 and 1.
        losses: what it costs at each horizon to replace the latents of a step.
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
        trajectory: (T, Z) the guide's means of the first sequence.
        traversal: what the model draws on average when one latent moves from its 5 % to its 95 %
            quantile and the others stay at their medians: `latent, target, scale, value, mean`.
        warning: what to do if latents are not used; else empty.
        data: the sequences that were used.

    The standard errors of estimates have the same names with `_error`; None where they cannot be
    told.
    """

    family: str
    kl: np.ndarray
    total_kl: float
    exact_kl: bool
    predictable: np.ndarray
    losses: Losses
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
    trajectory: np.ndarray
    traversal: pd.DataFrame
    warning: str
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
    def share(self) -> np.ndarray:
        """(Z,) each latent's share of the sum of their KLs; NaN if that is not above 0."""
        total = self.kl.sum()
        return self.kl / total if total > 0 else np.full(len(self.kl), np.nan)

    @property
    def roles(self) -> list[str]:
        """What each latent is: `state`, `innovation`, `derived`, `used` (nothing more can be told),
        `unused` or `unclear` (too few data to tell); see `seqlatent.tasks.headline`."""
        return roles(self.losses, self.predictable)

    @property
    def used(self) -> np.ndarray:
        """(Z,) bool, which latents are used: replacing one costs at least 0.001 nats per step, and
        more than two standard errors, at some horizon."""
        return is_used(np.array(self.roles))

    @property
    def memory(self) -> np.ndarray:
        """(Z,) the furthest measured horizon at which each latent is felt, in steps; -1 if none."""
        return memories(self.losses)

    @property
    def headline(self) -> str:
        """One sentence about all latents."""
        return headline(self.losses, self.predictable)

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        return f"Inspection of a {self.family} model", [
            ("data", f"{self.data.name}, {counted(len(self.data), 'sequence')}"),
            ("latents", self.headline),
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
            "headline": self.headline,
            "latents": [
                {"name": f"z{k + 1}", "role": self.roles[k], "kl": float(self.kl[k]),
                 "share": _number(self.share[k]), "predictable": float(self.predictable[k]),
                 "memory": int(self.memory[k]), "variance": float(self.variance[k]),
                 "loss": self.losses.each[k].tolist(),
                 "loss_error": [_number(e) for e in self.losses.each_error[k]]}
                for k in range(len(self.kl))
            ],
            "used_latents": int(self.used.sum()),
            "horizons": list(self.losses.horizons),
            "loss": self.losses.joint.tolist(),
            "loss_error": [_number(e) for e in self.losses.joint_error],
            **{name: getattr(self, name) for name in names},
            "reconstruction": {
                target: {"rmse": rmse, "scale": scale}
                for target, (rmse, scale) in self.reconstruction.items()
            },
            "warning": self.warning or None,
        }  # fmt: skip

    def to_text(self) -> str:
        """The numbers as text."""
        exact = "" if self.exact_kl else ", by sampling: guide and prior are not both normal"
        where = "another sequence" if len(self.data) > 1 else "another step"
        lines = [
            f"{self.family} on {counted(len(self.data), 'sequence')}: {self.headline}",
            "",
            text_table(*self._latents()),
            "",
            "loss of nats per step in x_{t+h} when the latents of step t are replaced by those of "
            f"{where}; each latent alone, and all",
            text_table(*self._losses()),
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
                f"({_error(self.reverse_gap_error)}), on sequences sampled from the model"
            )
        if self.reconstruction:
            lines += ["", "reconstruction: root mean square error (the values' standard deviation)"]
            lines += [
                f"  {target}  {rmse:.4g} ({scale:.4g})"
                for target, (rmse, scale) in self.reconstruction.items()
            ]
        return "\n".join(lines)

    def _latents(self) -> tuple[list[list[Any]], list[str]]:
        """The table of latents: rows and header."""
        numbers = zip(self.kl, self.share, self.predictable, self.variance, strict=True)
        rows = [
            [f"z{k + 1}", *map(float, row), role]
            for k, (row, role) in enumerate(zip(numbers, self.roles, strict=True))
        ]
        return rows, [
            "latent",
            "KL(q || prior)",
            "share",
            "predictable",
            "variance of the mean",
            "use",
        ]

    def _losses(self) -> tuple[list[list[Any]], list[str]]:
        """The table of losses: rows and header."""
        found = self.losses
        rows = [[f"z{k + 1}", *map(float, row)] for k, row in enumerate(found.each)]
        rows += [
            ["all", *map(float, found.joint)],
            ["error of all", *map(float, found.joint_error)],
        ]
        return rows, ["latent", *(f"h={h}" for h in found.horizons)]

    def plot(self, path: str | Path | None = None) -> "Figure":
        """Draw all results in one picture; see `seqlatent.plots.inspection.plot_inspection`."""
        latents = pd.DataFrame(
            {"kl": self.kl, "share": self.share, "predictable": self.predictable, "used": self.used}
        )
        found = self.losses
        losses = pd.DataFrame(
            {"horizon": found.horizons, "loss": found.joint, "std_error": found.joint_error}
        )
        return plot_inspection(
            latents,
            losses,
            kl_over_time=self.kl_over_time,
            total_kl=self.total_kl,
            trajectory=self.trajectory,
            traversal=self.traversal,
            posterior_samples=self.posterior_samples,
            prior_samples=self.prior_samples,
            reconstructed=self.reconstructed,
            most_felt=most_felt(found),
            path=path,
        )


def most_felt(losses: Losses) -> np.ndarray:
    """(Z,) latents by their greatest loss over the horizons, the greatest first."""
    return np.argsort(-losses.each.max(1), kind="stable")


def _error(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
