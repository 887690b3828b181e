"""Mixtures of fits, whose weights held-out likelihood chooses.

equal    1 / K
fixed    the w_k that maximise sum_t log sum_k w_k p_k(x_t | x_{<t}), which is concave in w, by EM:
         the share of each step that a member explains, averaged over steps, is its new weight
moving   the eta and gamma of `seqlatent.models.mixture` with the highest likelihood, from a grid
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.inference.likelihood import mean_log_prob, score_sequences
from seqlatent.models.base import SequenceModel
from seqlatent.models.mixture import WEIGHTS, MixtureModel, check_member, check_steps, mixture
from seqlatent.nn.prepared import prepare
from seqlatent.options import check_count
from seqlatent.tasks.prepare import check_data
from seqlatent.training.fitting import FitResult, fit
from seqlatent.training.options import TrainingOptions
from seqlatent.training.trainer import Trainer

logger = logging.getLogger("seqlatent")

ITERATIONS = 200  # of EM
CLOSE = 1e-7  # a change of weights after which EM stops
MOST = 4  # members, where the budget decides their number
FEW = 50  # scored steps for each member; fewer do not tell which is better
ETAS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
GAMMAS = (0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
TOGETHER = 256  # sequences whose mixtures are computed together


@dataclass(frozen=True)
class Fit:
    """A fitted model that a mixture is made of.

    Attributes:
        name: what messages call it, such as its folder.
        module: the torch module.
        fitted: facts about its training.
    """

    name: str
    module: SequenceModel
    fitted: dict[str, Any]


def check_plan(
    model: type[SequenceModel], members: int | str, weights: str | None, resume: bool
) -> str:
    """The weights of a fit of `members` members, `fixed` unless given.

    Raises:
        InputError: before any work, for what `fit_members` cannot do.
    """
    if isinstance(members, str):
        if members != "auto":
            raise InputError(f"members={members} is neither a whole number nor auto")
        members = MOST
    if check_count("members", members) == 1:
        if weights is not None:
            raise InputError(
                f"weights={weights} would be ignored: it is for several members; give their number "
                "(--members)"
            )
        return "equal"
    check_member(model)
    if resume:
        raise InputError("a fit of several members cannot resume; leave resume (--resume) out")
    return _check_weights(weights or "fixed")


def _check_weights(weights: str) -> str:
    if weights not in WEIGHTS:
        raise InputError(f"weights={weights} is not one of {', '.join(WEIGHTS)}")
    return weights


def fit_members(
    build: Callable[[int], SequenceModel],
    train: SequenceDataset,
    held_out: SequenceDataset,
    budget: TrainingOptions,
    *,
    members: int | str,
    weights: str = "fixed",
    seed: int = 0,
    device: str = "auto",
    report: Callable[[Trainer], None] | None = None,
) -> tuple[MixtureModel, FitResult, list[dict[str, Any]]]:
    """Fit a model several times, from different first parameters, and mix the fits.

    Args:
        build: a model with new parameters, by a seed.
        train, held_out: data, prepared for these models.
        budget: of training; each fit has an equal share of what those before it left.
        members: K; the seeds are `seed`, `seed + 1`, ... `auto`: each fit may take all that is
            left, and another begins, up to four, while half of what the last one took is left.
        weights: of the members, by the held-out data; equal where these are few.
        seed: of the first fit.
        device: of training.
        report: called after every step of training.

    Returns:
        the mixture; how training went, its steps and seconds counted through all fits; and facts
        about each member.
    """
    fits: list[Fit] = []
    curve: list[dict[str, float]] = []
    steps, seconds, best, best_step, stopped = 0, 0.0, -np.inf, 0, ""
    left, most = budget, MOST if isinstance(members, str) else members
    for i in range(most):
        part = left if isinstance(members, str) else left.share(most - i)
        module = build(seed + i)
        check_steps(module)
        result = fit(module, train, held_out, part, seed=seed + i, device=device, report=report)
        facts = {"seed": seed + i, "training": asdict(part), "steps": result.steps}
        facts["valid_nats_per_step"] = result.valid_score
        fits.append(Fit(f"member {i + 1}", module, facts))
        logger.info(
            "member %d of %d: %.4f held-out nats per step, %d steps",
            i + 1, most, result.valid_score, result.steps,
        )  # fmt: skip
        for row in result.curve:
            moved = {"step": row["step"] + steps, "seconds": row["seconds"] + seconds}
            curve.append({"member": i + 1, **row, **moved})
        if result.valid_score > best:
            best, best_step = result.valid_score, steps + result.best_step
        steps, seconds, stopped = steps + result.steps, seconds + result.seconds, result.stopped
        left = left.less(result.steps, result.seconds)
        if isinstance(members, str) and not left.allows(result.steps // 2, result.seconds / 2):
            break
    mixed = mixture([f.module for f in fits], weights)
    plain = replace(held_out, sequences=prepare(mixed.scaler, held_out.sequences))
    choose_weights(mixed, plain)
    score = mean_log_prob(mixed, plain, 1)
    result = FitResult(curve, best_step, score, "log_prob", steps, seconds, stopped)
    return mixed, result, member_facts(mixed, fits)


def mix(
    fits: Sequence[Fit], data: SequenceDataset | None = None, weights: str | None = None
) -> tuple[MixtureModel, dict[str, Any]]:
    """Mix fitted models.

    Args:
        fits: of the same channels, covariates and labels.
        data: held out from all of them; chooses the weights.
        weights: by default `fixed` with data, else `equal`. Without data, moving weights follow
            Bayes' rule with slow forgetting.

    Returns:
        the mixture, and facts about it.

    Raises:
        InputError: for fits that do not go together, or have no density of every step; for unknown
            weights, and fixed ones without data.
    """
    weights = _check_weights(weights or ("equal" if data is None else "fixed"))
    if weights == "fixed" and data is None:
        raise InputError(
            "weights=fixed are chosen by held-out data: give some (--data), or use weights=equal"
        )
    check_together(fits)
    mixed = mixture([f.module for f in fits], weights)
    names = dict.fromkeys(str(f.fitted["data"]) for f in fits if "data" in f.fitted)
    facts: dict[str, Any] = {"data": ", ".join(names) or "unknown data"}
    if data is not None:
        data = check_data(mixed, data)
        choose_weights(mixed, data)
        facts |= {"valid_nats_per_step": mean_log_prob(mixed, data, 1), "valid_kind": mixed.kind}
        facts["weighed_by"] = data.name
    return mixed, facts | {"weights": weights, "members": member_facts(mixed, fits)}


def member_facts(mixed: MixtureModel, fits: Sequence[Fit]) -> list[dict[str, Any]]:
    return [
        {"name": f.name, "family": f.module.family, "weight": weight, **f.fitted}
        for f, weight in zip(fits, mixed.weights, strict=True)
    ]


def check_together(fits: Sequence[Fit]) -> None:
    """Refuse fits that cannot be mixed.

    Raises:
        InputError: naming the first that differs from the one before, or has no density of every
            step.
    """
    if not fits:
        raise InputError("there is nothing to combine; give two or more fitted models")
    for f in fits:
        check_member(type(f.module), f.name)
        check_steps(f.module, f.name)
    first = fits[0].module.description
    for f in fits[1:]:
        other = f.module.description
        for what, ours, theirs in (
            ("channels", first.targets, other.targets),
            ("covariates", first.covariate_names, other.covariate_names),
            ("static features", first.static_names, other.static_names),
            ("past covariates", first.past_names, other.past_names),
            ("labels", first.categories, other.categories),
            ("categories of series", first.static_labels, other.static_labels),
            ("frequency", first.frequency, other.frequency),
        ):
            if ours != theirs:
                raise InputError(
                    f"{f.name} was fitted to data with the {what} {_words(theirs)}, and "
                    f"{fits[0].name} with {_words(ours)}; combine fits to the same data"
                )


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k}: {_words(v)}" for k, v in value.items()) or "none"
    return (", ".join(value) if isinstance(value, tuple) else str(value)) or "none"


# -- weights --------------------------------------------------------------------------------------


def choose_weights(mixed: MixtureModel, data: SequenceDataset) -> None:
    """Set a mixture's weights by held-out data; where these are few, leave them as they are.

    Args:
        mixed: says by its options which weights it has.
        data: prepared for it.
    """
    if mixed.options.weights == "equal":
        return
    log_prob, scored = member_densities(mixed, data)
    count = sum(int(s.sum()) for s in scored)
    if count < FEW * len(mixed.members):
        usual = "equal" if mixed.options.weights == "fixed" else "those of Bayes' rule"
        logger.info("weights: %s; %d held-out steps are too few to choose others", usual, count)
    elif mixed.options.weights == "fixed":
        steps = np.concatenate([p[s] for p, s in zip(log_prob, scored, strict=True)])
        mixed.log_weights.copy_(torch.from_numpy(np.log(best_weights(steps))))
    else:
        _choose_moves(mixed, log_prob, scored)


def best_weights(log_prob: np.ndarray, iterations: int = ITERATIONS) -> np.ndarray:
    """(N, K) log p_k at N steps -> (K,) the weights that maximise the likelihood of their mixture,
    by EM from equal ones. Steps that no member has a density of tell nothing."""
    weights = np.full(log_prob.shape[1], 1 / log_prob.shape[1])
    log_prob = log_prob[np.isfinite(log_prob.max(1))]
    if not len(log_prob):
        return weights
    density = np.exp(log_prob - log_prob.max(1, keepdims=True))
    for _ in range(iterations):
        share = density * weights
        new = (share / share.sum(1, keepdims=True)).mean(0)
        change, weights = np.abs(new - weights).max(), new
        if change < CLOSE:
            break
    weights = np.maximum(weights, 1e-12)  # whose logarithm is finite
    return weights / weights.sum()


def member_densities(
    mixed: MixtureModel, data: SequenceDataset
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each sequence (T, K) log p_k(x_t | x_{<t}) of the members, also of steps that are not
    scored, 0 where nothing was observed; and (T,) whether a step is scored."""
    observed = [np.isfinite(s.x).any(1) for s in data]
    scored = [o & (np.arange(len(s)) >= s.context) for o, s in zip(observed, data, strict=True)]
    result = [np.zeros((len(s), len(mixed.members))) for s in data]
    whole = [replace(s, context=0) for s in data]
    for k, m in enumerate(mixed.parts):
        own = replace(data, sequences=prepare(m.scaler, whole))
        for s in score_sequences(m, own):
            result[s.place][:, k] = np.nan_to_num(s.log_prob, nan=0.0)
    return result, scored


@torch.no_grad()
def _choose_moves(
    mixed: MixtureModel, log_prob: Sequence[np.ndarray], scored: Sequence[np.ndarray]
) -> None:
    """Set eta and gamma to those of the grid with the highest likelihood."""
    order = sorted(range(len(log_prob)), key=lambda i: len(log_prob[i]))
    parts = [order[i : i + TOGETHER] for i in range(0, len(order), TOGETHER)]
    batches = [
        (_padded([log_prob[i] for i in part]), _padded([scored[i] for i in part])) for part in parts
    ]
    u = mixed.log_weights.new_zeros(1, 1, len(mixed.members))
    best, found = -np.inf, (0.0, 1.0)
    for eta in ETAS:
        for gamma in GAMMAS if eta else (1.0,):
            mixed.eta.fill_(eta)
            mixed.gamma.fill_(gamma)
            total = sum(float((mixed.mixed(p, u)[0] * s).sum()) for p, s in batches)
            if total > best:
                best, found = total, (eta, gamma)
    mixed.eta.fill_(found[0])
    mixed.gamma.fill_(found[1])


def _padded(parts: Sequence[np.ndarray]) -> torch.Tensor:
    """(T_i, .) arrays as one (B, T, .) tensor, padded by 0."""
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(p) for p in parts], batch_first=True)
