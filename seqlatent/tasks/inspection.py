"""What an inspection of latents finds: numbers, words and a picture."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset
from seqlatent.inference.diagnostics import collapse_warning
from seqlatent.plots.figure import ACCENT, ALERT, INK, SOFT, finish, format_dates, new_figure
from seqlatent.text import Summary, counted, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACTIVE = 0.01  # variance of a mean over the data (Burda et al. 2016)


@dataclass(frozen=True, eq=False, repr=False)
class Inspection(Summary):
    """What `inspect` finds; KLs and log-probabilities are nats per scored step.

    Attributes:
        family: of the model.
        kl: (Z,) KL(q || prior) of each latent, and `total_kl` of all of them.
        exact_kl: whether these come from closed forms; unless guide and prior are both normal they
            are averages over draws, and those of single latents are against the prior's marginals.
        variance: (Z,) over the data, of the mean of q(z_k | x).
        kl_over_time: (T, Z) KL by step, averaged over the sequences.
        log_prob, elbo: of the data; `kind` and `num_particles` of the former.
        gap: KL(q(z | x) || p(z | x)).
        reverse_gap: KL(p(z | x) || q(z | x)); None where the model cannot draw sequences from
            nothing, `why_not` says why.
        reconstruction: by target, the root mean square of x_t - E[x_t | history, z_t], z from the
            guide, and the standard deviation of the values.
        posterior_samples, prior_samples: (N, Z) latents of all sequences and steps; the prior's
            where it depends on earlier latents given those of the guide.
        reconstructed: the first sequence's frame, see `reconstruct`.
        data: what was looked at.

    Every number has a standard error of the same name with `_error`.
    """

    family: str
    kl: np.ndarray
    total_kl: float
    exact_kl: bool
    variance: np.ndarray
    kl_over_time: np.ndarray
    log_prob: float
    log_prob_error: float
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
    def gap_error(self) -> float:
        return math.hypot(self.log_prob_error, self.elbo_error)

    @property
    def active(self) -> np.ndarray:
        """(Z,) bool."""
        return self.variance > ACTIVE

    @property
    def warning(self) -> str:
        """Where the latents have collapsed; else nothing."""
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
        """The same for reading."""
        rows = [
            [f"z{k + 1}", float(self.kl[k]), float(self.variance[k]), "yes" if used else "no"]
            for k, used in enumerate(self.active)
        ]
        exact = "" if self.exact_kl else ", by draws: not both distributions are normal"
        lines = [
            f"{self.family} on {counted(len(self.data), 'sequence')}: "
            f"{int(self.active.sum())} of {counted(len(rows), 'latent')} active",
            "",
            text_table(rows, ["latent", "KL(q || prior)", "variance of the mean", "active"]),
            "",
            "nats per step (standard error)",
            f"  KL(q || prior)            {self.total_kl:9.4f}{exact}",
            f"  log p(x)                  {self.log_prob:9.4f} ({self.log_prob_error:.4f}), "
            f"{self.kind} of {counted(self.num_particles, 'particle')}",
            f"  ELBO                      {self.elbo:9.4f} ({self.elbo_error:.4f})",
            f"  KL(q(z|x) || p(z|x))      {self.gap:9.4f} ({self.gap_error:.4f}), on the data: "
            "log p(x) - ELBO",
        ]
        if self.reverse_gap is None:
            lines.append(f"  KL(p(z|x) || q(z|x))      not known: {self.why_not}")
        else:
            lines.append(
                f"  KL(p(z|x) || q(z|x))      {self.reverse_gap:9.4f} "
                f"({self.reverse_gap_error:.4f}), on sequences drawn from the model"
            )
        if self.reconstruction:
            lines += ["", "reconstruction: root mean square error (the values' standard deviation)"]
            lines += [
                f"  {target}  {rmse:.4g} ({scale:.4g})"
                for target, (rmse, scale) in self.reconstruction.items()
            ]
        return "\n".join(lines)

    def plot(self, path: str | Path | None = None) -> "Figure":
        """One picture: what each latent is used for, and when; q against the prior for the latents
        used most; the first sequence beside its reconstruction."""
        num = len(self.kl)
        shown = np.argsort(-self.kl, kind="stable")[:8]
        rows = 2 + -(-len(shown) // 4)
        figure, axes = new_figure(rows, 4, 12.0, 2.6 * rows)
        grid = axes[0, 0].get_gridspec()
        for ax in [*axes[0], *axes[-1]]:
            ax.remove()

        def wide(row: int, columns: slice) -> "Axes":
            ax = figure.add_subplot(grid[row, columns])
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(alpha=0.25, linewidth=0.5)
            ax.tick_params(labelsize=8)
            return ax

        self._draw_use(wide(0, slice(0, 2)))
        self._draw_over_time(wide(0, slice(2, 4)))
        cells = axes[1:-1].flat
        for ax, k in zip(cells, shown, strict=False):
            self._draw_aggregate(ax, int(k))
        for ax in list(axes[1:-1].flat)[len(shown) :]:
            ax.set_visible(False)
        self._draw_reconstruction(wide(rows - 1, slice(0, 4)))
        if num > len(shown):
            figure.supxlabel(
                f"histograms of the {len(shown)} most used of {num} latents", fontsize=8
            )
        return finish(figure, path)

    def _draw_use(self, ax: "Axes") -> None:
        colours = [ACCENT if used else SOFT for used in self.active]
        names = [f"z{k + 1}" for k in range(len(self.kl))]
        ax.bar(names, self.kl, color=colours)
        if len(names) > 12:
            ax.tick_params(axis="x", labelrotation=90, labelsize=6)
        ax.set_title(
            f"KL(q || prior) of each latent: {self.total_kl:.3f} nats per step in all; "
            f"{int(self.active.sum())} active (blue)",
            fontsize=9,
            loc="left",
        )
        ax.set_ylabel("nats per step", fontsize=8)

    def _draw_over_time(self, ax: "Axes") -> None:
        total = self.kl_over_time.sum(1)
        marker = "." if len(total) < 60 else None
        ax.plot(np.arange(1, len(total) + 1), total, color=INK, linewidth=1.2, marker=marker)
        ax.set_ylim(bottom=0)
        ax.set_xlabel("step", fontsize=8)
        ax.set_title("KL(q || prior) by step, mean over the sequences", fontsize=9, loc="left")

    def _draw_aggregate(self, ax: "Axes", k: int) -> None:
        q, p = self.posterior_samples[:, k], self.prior_samples[:, k]
        reach = np.abs(np.quantile(np.concatenate([q, p]), [0.001, 0.999])).max()
        bins = np.linspace(-reach, reach, 41)
        ax.hist(q, bins=bins, density=True, color=ACCENT, alpha=0.45, label="q(z)")
        ax.hist(p, bins=bins, density=True, histtype="step", color=ALERT, linewidth=1.2,
                label="prior")  # fmt: skip
        ax.set_title(f"z{k + 1}: sd {q.std():.2f}, prior {p.std():.2f}", fontsize=9, loc="left")
        ax.legend(fontsize=7, frameon=False)

    def _draw_reconstruction(self, ax: "Axes") -> None:
        target = self.data.targets[0]
        frame = self.reconstructed[self.reconstructed["target"] == target].iloc[:120]
        ds = frame["ds"].to_numpy()
        if "mean" in frame:
            marker = "." if len(ds) < 60 else None
            ax.fill_between(ds, frame["q0.05"], frame["q0.95"], color=ACCENT, alpha=0.18, lw=0,
                            label="90 %")  # fmt: skip
            ax.plot(ds, frame["mean"], color=ACCENT, linewidth=1.4, label="E[x | history, z]")
            ax.plot(ds, frame["y"], color=INK, linewidth=1.0, marker=marker, markersize=3,
                    label="x")  # fmt: skip
        else:  # labels: how probable was the one that came?
            shares = frame[[f"p({label})" for label in self.data.categories[target]]].to_numpy()
            codes = self.data.sequences[0].x[: len(frame), 0]
            seen = np.isfinite(codes)
            at = np.where(seen, codes, 0).astype(int)
            came = np.where(seen, shares[np.arange(len(at)), at], np.nan)
            ax.plot(ds, came, color=ACCENT, linewidth=1.2, label="p(x | history, z) of what came")
            ax.set_ylim(0, 1.02)
        ax.legend(fontsize=7, frameon=False, ncols=3)
        ax.set_title(
            f"{self.data.sequences[0].unique_id}: {target}, reconstructed from draws of the guide",
            fontsize=9,
            loc="left",
        )
        format_dates(ax, ds)
