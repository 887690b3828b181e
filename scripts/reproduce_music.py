"""Piano rolls: the literature's table with our models beside it.

    scripts/reproduce music --data FOLDER [--out music] [--sets jsb nottingham] [--models rnn]

FOLDER holds `jsb_chorales.npz` and `nottingham.npz`: for each of the literature's parts, `train`,
`valid` and `test`, `PART_notes` (MIDI pitches 21 to 108, all steps end to end), `PART_note_counts`
(how many of them sound at each step) and `PART_lengths` (steps of each sequence). They are written
as long tables, `unique_id, ds` and a column for each of the 88 keys, and read like any other data.

The measure is the literature's: the negative log-likelihood in nats, summed over the 88 keys and
divided by the number of steps, all steps of the test part alike, the first ones too. Models are
chosen by the `valid` part; `test` is scored once, at the end. In brackets is the standard error
that comes from which pieces the test part has, as if these were drawn anew; with several seeds the
table ends with the spread of the fits. After an interruption the same command resumes; finished
fits are not repeated. Figures are kept in OUT/music.json.

*Mean over keys* is the same model asked K times, with the music moved up or down by at most so many
semitones; its p(x_t | x_{<t}) is the mean of the K answers, which is again an exact
distribution. So is the mean over keys and fits, where several seeds are given, and so is a
*weighed* mean, in which an answer counts for more if the same key and fit have done well so far in
this sequence:

    p(x_t | x_{<t}) = sum_k w_tk p_k(x_t | x_{<t}),
    log w_tk = eta sum_{s<t} gamma^(t-1-s) log p_k(x_s | x_{<s}) + const

(dynamic model averaging, Raftery et al. 2010, with a learning rate.)
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_tools import say, show
from music_rolls import FILES, moved, read_rolls

from seqlatent.api import CLASSES, Model, load_model
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError, did_you_mean

SHIFTS = {"jsb": 6, "nottingham": 5}  # semitones up and down that the mean over keys goes
ETA, GAMMA = 0.2, 0.95  # of weighed means, chosen on the chorales' valid part

# name, test nats per step on jsb and on nottingham, kind
LITERATURE = [
    ("LSTM (Bai et al. 2018)", 8.45, 3.29, "exact"),
    ("TCN (Bai et al. 2018)", 8.10, 3.07, "exact"),
    ("VRNN, FIVO (Maddison et al. 2017)", 7.40, 2.99, "bound"),
    ("DMM (Krishnan et al. 2017)", 6.39, 2.77, "importance sampling"),
    ("RNN-NADE (Boulanger-Lewandowski et al. 2012)", 5.19, 2.31, "exact"),
    ("DMM-Aug-NADE (Krishnan et al. 2017)", 5.12, 2.31, "importance sampling"),
    ("LV-RNN, NASMC (Gu et al. 2015)", 3.99, 2.72, "SMC estimate"),
]

NUM_PARTICLES = 512  # of a test score that is an estimate, in each of four filters

LATENT = {"emission": "bernoulli", "channels": "independent", "latent_dim": 32}
RNN = {
    "emission": "subset",
    "hidden_dim": 256,
    "num_layers": 2,
    "channel_dim": 256,
    "recall_heads": 4,
}
# set: model: options of the model and of training, chosen on the valid parts
RECIPES: dict[str, dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "jsb": {
        "rnn": (
            {**RNN, "dropout": 0.12, "channel_dropout": 0.25},
            {"max_steps": 4000, "batch_size": 8, "learning_rate": 4e-3, "shift_channels": 6,
             "average": 0.995, "eval_every": 200, "patience": 1000},
        ),
        "vrnn": (
            {**LATENT, "hidden_dim": 100, "dropout": 0.2, "kl_anneal_steps": 300},
            {"max_steps": 2000, "batch_size": 20, "learning_rate": 3e-3, "average": 0.99,
             "eval_every": 100, "patience": 1000},
        ),
        "dmm": (
            {**LATENT, "hidden_dim": 100, "kl_anneal_steps": 300},
            {"max_steps": 6000, "batch_size": 20, "learning_rate": 3e-3, "average": 0.99,
             "eval_every": 200, "patience": 1000},
        ),
    },
    "nottingham": {
        "rnn": (
            {**RNN, "dropout": 0.1, "channel_dropout": 0.1},
            {"max_steps": 5000, "batch_size": 8, "learning_rate": 4e-3, "shift_channels": 5,
             "average": 0.995, "eval_every": 250, "patience": 1000, "window_length": 256,
             "window_context": 0},
        ),
    },
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="The table of piano rolls.")
    parser.add_argument("--data", type=Path, required=True, help="folder with the .npz files")
    parser.add_argument(
        "--out", type=Path, default=Path("music"), help="folder for fits and figures"
    )
    parser.add_argument("--sets", nargs="+", default=list(FILES), help=", ".join(FILES))
    parser.add_argument(
        "--models", nargs="+", default=["rnn"], help="names of recipes in this file"
    )
    parser.add_argument("--max-steps", type=int, help="training steps, in place of the recipe's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the fits")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        for name in args.sets:
            if name not in FILES:
                raise InputError(f"unknown set '{name}'{did_you_mean(name, FILES)}")
            for model in args.models:
                if model not in RECIPES[name]:
                    raise InputError(f"no recipe for '{model}'{did_you_mean(model, RECIPES[name])}")
                members = [measure(name, model, seed, args) for seed in args.seeds]
                put_together(name, model, members, args)
        show_table(args.out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(name: str, model: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Fit a recipe and score its test part, unless that has been done: its row of figures."""
    options, training = recipe(name, model, args)
    identity = {"set": name, "model": model, "seed": seed, "options": options, "training": training}
    rows = read_rows(args.out)
    done = [row for row in rows if all(row.get(k) == v for k, v in identity.items())]
    if done:
        return done[0]
    data = read_rolls(args.data, name, args.out)
    fitted = fit(model, options, training, data, args.out / f"{name}-{model}-{seed}", seed)
    say(f"{name}, {model}: scoring the test part")
    scores, steps = fitted.score(data["test"], num_particles=NUM_PARTICLES)
    kind, most = str(scores["kind"].iloc[0]), SHIFTS[name]
    means = {}
    if kind == "exact":  # a mean of estimates would need their errors to be independent
        answers = in_all_keys(fitted, data["test"], most)
        np.save(answers_of(args.out, name, model, seed), answers)
        means = figures(answers, data["test"].lengths)
    row = {
        **identity,
        "kind": kind,
        "num_particles": int(scores["num_particles"].iloc[0]),
        "std_error": float(np.linalg.norm(scores["std_error"]) / len(steps)),
        **average("nats_per_step", steps["log_prob"].to_numpy(), data["test"].lengths),
        **means,
        "num_keys": 2 * most + 1,
        "num_steps": len(steps),
        "valid_nats_per_step": -fitted.fitted["valid_nats_per_step"],
        "parameters": sum(p.numel() for p in fitted.module.parameters()),
        "seconds": fitted.fitted["seconds"],
        "steps": fitted.fitted["steps"],
        "threads": args.threads,
        "torch": torch.__version__,
    }
    write_rows(args.out, [*rows, row])
    return row


def put_together(
    name: str, model: str, members: list[dict[str, Any]], args: argparse.Namespace
) -> None:
    """The mean of p(x_t | x_{<t}) over keys and the fits of several seeds."""
    if len(members) == 1 or members[0]["kind"] != "exact":
        return
    answers = [np.load(answers_of(args.out, name, model, m["seed"])) for m in members]
    lengths = read_rolls(args.data, name, args.out)["test"].lengths
    same = {k: members[0][k] for k in ("set", "model", "options", "training", "kind", "num_keys")}
    row = {
        **same,
        "seeds": [m["seed"] for m in members],
        **figures(np.concatenate(answers), lengths),
        "parameters": sum(m["parameters"] for m in members),
        "seconds": sum(m["seconds"] for m in members),
    }
    identity = {k: row[k] for k in ("set", "model", "options", "training", "seeds")}
    rows = [r for r in read_rows(args.out) if any(r.get(k) != v for k, v in identity.items())]
    write_rows(args.out, [*rows, row])


def recipe(
    name: str, model: str, args: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, Any]]:
    options, training = RECIPES[name][model]
    if args.max_steps is not None:
        training = {**training, "max_steps": args.max_steps}
    return options, training


def answers_of(out: Path, name: str, model: str, seed: int) -> Path:
    """Where log p(x_t | x_{<t}) of every test step is kept, in each of the keys."""
    return out / f"{name}-{model}-{seed}" / "test.npy"


def read_rows(out: Path) -> list[dict[str, Any]]:
    path = out / "music.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def write_rows(out: Path, rows: list[dict[str, Any]]) -> None:
    (out / "music.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def fit(
    model: str,
    options: dict[str, Any],
    training: dict[str, Any],
    data: dict[str, SequenceDataset],
    run: Path,
    seed: int,
) -> Model:
    """The fitted model: from its folder, or from its last checkpoint, or from the start."""
    if (run / "config.json").exists():
        fitted = load_model(run)
        theirs = {**asdict(fitted.module.options), **fitted.fitted["training"]}
        ours = {**options, **training, "seed": seed}
        if any({**theirs, "seed": fitted.fitted["seed"]}[k] != v for k, v in ours.items()):
            raise InputError(f"{run} holds another fit; choose another --out")
        return fitted
    say(f"{run.name}: fitting, {training['max_steps']} steps")
    return CLASSES[model](**options).fit(
        data["train"],
        valid=data["valid"],
        seed=seed,
        device="cpu",
        run=run,
        resume=True,
        **training,
    )


def in_all_keys(model: Model, data: SequenceDataset, most: int) -> np.ndarray:
    """(K, steps) log p(x_t | x_{<t}) in nats, with the data moved by -most..most semitones."""
    moves = range(-most, most + 1)
    return np.stack([model.score(moved(data, k))[1]["log_prob"].to_numpy() for k in moves])


def figures(answers: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """Nats per step of the plain and of the weighed mean of answers (K, steps)."""
    mean, moved_weights = (weighed(answers, lengths, *p) for p in ((0.0, 1.0), (ETA, GAMMA)))
    return {
        **average("nats_per_step_mean_over_keys", mean, lengths),
        **average("nats_per_step_weighed", moved_weights, lengths),
    }


def average(name: str, log_prob: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """Nats per step over all (steps,), and the standard error over N pieces, as of a ratio of
    sums: the square root of N / (N - 1) sum_i (s_i - r n_i)^2 / (sum_i n_i)^2 for a piece's s_i
    nats, n_i steps and the ratio r."""
    sums = -np.add.reduceat(log_prob, np.cumsum([0, *lengths[:-1]]))
    ratio = sums.sum() / lengths.sum()
    apart = np.square(sums - ratio * lengths).sum() * len(lengths) / (len(lengths) - 1)
    return {name: float(ratio), f"{name}_std_error": float(np.sqrt(apart) / lengths.sum())}


def weighed(answers: np.ndarray, lengths: np.ndarray, eta: float, gamma: float) -> np.ndarray:
    """(steps,) log p(x_t | x_{<t}) of the weighed mean; all sequences stand end to end."""
    result = []
    for part in np.split(answers, np.cumsum(lengths)[:-1], axis=1):
        log_weights = np.zeros(len(part))
        for log_prob in part.T:
            share = log_weights - np.logaddexp.reduce(log_weights)
            result.append(np.logaddexp.reduce(share + log_prob))
            log_weights = gamma * log_weights + eta * log_prob
    return np.array(result)


def kind_of(row: dict[str, Any]) -> str:
    return row["kind"] if row["kind"] == "exact" else f"{row['kind']}, {row['num_particles']}"


def show_table(out: Path) -> None:
    table = [
        [name, f"{jsb:.2f}", f"{nottingham:.2f}", kind, "", "", ""]
        for name, jsb, nottingham, kind in LITERATURE
    ]
    for row in read_rows(out):
        keys = f"{row['model']}, mean over {row['num_keys']} keys"
        if "seeds" in row:
            keys += f" and {len(row['seeds'])} fits"
        for label, key in (
            (row["model"], "nats_per_step"),
            (keys, "nats_per_step_mean_over_keys"),
            (f"{keys}, weighed", "nats_per_step_weighed"),
        ):
            if row.get(key) is None:
                continue
            value, error = f"{row[key]:.2f}", row.get(f"{key}_std_error")  # none in older rows
            value += "" if error is None else f" ({error:.2f})"
            size = f"{row['parameters']:,}"
            jsb, nottingham = (value if row["set"] == s else "" for s in FILES)
            seeds = " ".join(str(s) for s in row.get("seeds", [row.get("seed")]))
            table.append(
                [label, jsb, nottingham, kind_of(row), size, f"{row['seconds']:.0f}", seeds]
            )
    show(["test nats per step", *FILES, "kind", "parameters", "seconds", "seed"], table)
    fits: dict[tuple[str, str], list[float]] = {}
    for row in read_rows(out):
        if "seed" in row:
            fits.setdefault((row["set"], row["model"]), []).append(row["nats_per_step"])
    for (name, model), values in fits.items():
        if len(values) > 1:
            print(f"{model} on {name}: {len(values)} fits, {min(values):.3f} to {max(values):.3f}")


if __name__ == "__main__":
    sys.exit(main())
