"""Would the tests notice? Known kinds of mistakes, made one at a time; a test must fail on each.

    .venv/bin/python scripts/mutations.py [--only WORD ...]

Each mutation is a small edit of the code, made in a copy of the repository, and the files of tests
that look after that code. A mutation that no test fails on has *survived*: the tests have a hole.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Mutation(NamedTuple):
    """An edit of `file`, and the files of tests that should notice, without `test_`."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS = [
    Mutation("averages over sequences, not steps", "inference/likelihood.py",
             "total + float(s.log_prob[scored].sum()), count + int(scored.sum())",
             "total + float(s.log_prob[scored].mean()), count + 1", ("scoring", "training")),
    Mutation("missing values count in the determinant of scaling", "nn/scaling.py",
             "return (size * batch.observed).sum(-1)", "return size.sum(-1)", ("scaling",)),
    Mutation("weights of running means do not fade", "nn/scaling.py",
             "weight = self.decay * memory.weight + seen", "weight = memory.weight + seen",
             ("scaling",)),
    Mutation("hidden values stay marked as observed", "training/augmentation.py",
             "torch.where(kept, batch.x, 0.0), observed=kept", "torch.where(kept, batch.x, 0.0)",
             ("augmentation",)),
    Mutation("resume forgets for how long nothing improved", "training/trainer.py",
             '"decays", "stale", "best"', '"decays", "best"', ("survival", "cli_fit")),
    Mutation("resume forgets the best score", "training/trainer.py",
             '"stale", "best", "best_step"', '"stale", "best_step"', ("survival", "cli_fit")),
    Mutation("the context is scored", "data/batch.py",
             "(step >= self.context[:, None]) & self.observed", "(step >= 0) & self.observed",
             ("scoring", "laws_models")),
    Mutation("every quantile of a table is the median", "tasks/tables.py",
             "np.quantile(samples, QUANTILES, axis=0)",
             "np.quantile(samples, [0.5] * len(QUANTILES), axis=0)", ("forecast_results",)),
    Mutation("the week has six days", "data/calendar.py",
             "day_of_week.to_numpy() + _day(ds)) / 7", "day_of_week.to_numpy() + _day(ds)) / 6",
             ("calendar",)),
    Mutation("paths that fill gaps have equal weights", "inference/imputation.py",
             "log_w = log_w + log_weight", "log_w = log_w + 0 * log_weight",
             ("imputing", "what_if")),
    Mutation("the per-step bound is a sum of weights", "inference/bounds.py",
             "log_mean = log_weights.logsumexp(0) - math.log(k)",
             "log_mean = log_weights.logsumexp(0)", ("estimates",)),
    Mutation("a gain leaves the guide as wide as the prior", "models/latent/prior_guide.py",
             "scale * (1 - gain).sqrt()", "scale * 1", ("prior_guide",)),
    Mutation("errors of filters take resampled particles to be as unequal as before",
             "inference/smc.py", "torch.where(moved, -math.log(len(weights)), weights)", "weights",
             ("estimates", "coverage")),
    Mutation("particles keep their weights when resampled", "inference/smc.py",
             "log_w = torch.where(poor, level, log_w)", "log_w = log_w + 0", ("estimates",)),
    Mutation("weights of members ignore how well they do", "choosing/mixing.py",
             "share = density * weights", "share = 0 * density + weights", ("mixture",)),
    Mutation("moving weights do not move", "models/mixture.py",
             "[self.eta * gain]", "[0 * gain]", ("mixture",)),
    Mutation("the CRPS is that of a point", "tasks/metrics.py",
             "spread / (2 * count * (count - 1))", "0 * spread", ("metrics",)),
    Mutation("the CRPS is not fair", "tasks/metrics.py",
             "spread / (2 * count * (count - 1))", "spread / (2 * count * count)", ("metrics",)),
    Mutation("one window fewer is held out", "data/splits.py",
             "held_out = min(num, most) * prediction_length",
             "held_out = max(1, min(num, most) - 1) * prediction_length",
             ("splits", "prediction_length")),
    Mutation("all series have the same noise", "distributions/noise.py",
             "default_rng(_stream_seed(name, seed))", "default_rng(seed)",
             ("company", "forecast_results", "laws_models")),
    Mutation("bent tails lose a part of their slope", "distributions/tails.py",
             "-log_far - 0.5 * torch.log1p(square / BEND**2)", "-log_far", ("wild",)),
    Mutation("the room of paths does not grow with age", "nn/limits.py",
             "memory.room * (memory.age / self.usual_age).clamp(min=1.0).sqrt()", "memory.room",
             ("limits",)),
    Mutation("one GRU step forgets a gate's bias", "nn/recurrent.py",
             "b[: 2 * H] + c[: 2 * H]", "b[: 2 * H]", ("laws_networks",)),
    Mutation("classes are drawn one too high", "distributions/noise.py",
             "u[..., 0] * total[-1]).sum(0)", "u[..., 0] * total[-1]).sum(0) + 1", ("laws_heads",)),
    Mutation("a rest hides greater alarms", "tasks/following.py",
             "self._left > 0 and score <= self._last + self.threshold", "self._left > 0",
             ("following", "detecting")),
    Mutation("nothing is rarer than once in all numbers", "tasks/recent.py",
             "log(n + 1) + beyond / excess", "log(n + 1) + 0 * beyond / excess", ("following",)),
    Mutation("blocks go on after a gap", "models/diffusion/blocks.py",
             "(age % block == 0) | ~follows", "(age % block == 0)", ("diffusion_blocks",)),
    Mutation("one way to place values is tried", "choosing/scaling.py",
             "ways.setdefault(_way(t.scaling), [])", 'ways.setdefault("level", [])',
             ("choosing_trials", "choosing")),
    Mutation("a cycle that no series spans is used", "data/calendar.py",
             "if length <= span and _seen_twice", "if _seen_twice", ("calendar",)),
    Mutation("claims of dictionaries are not counted", "data/feather.py",
             "for field in (DICTIONARIES, RECORD_BATCHES):", "for field in (RECORD_BATCHES,):",
             ("feather",)),
    Mutation("rare counts are too large", "distributions/counts.py",
             "self.level * (1 - u) / u", "self.level / u", ("counts_and_categories",)),
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Mistakes that the tests must notice.")
    parser.add_argument("--only", nargs="+", help="words of the names of mutations")
    args = parser.parse_args()
    chosen = [m for m in MUTATIONS if not args.only or any(w in m.name for w in args.only)]
    survived = 0
    for m in chosen:
        start = time.perf_counter()
        failed = noticed(m)
        survived += not failed
        seconds = time.perf_counter() - start
        told = "noticed by " + failed if failed else "SURVIVED"
        print(f"{m.name}: {told} ({seconds:.0f} s)", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} mutations are noticed")
    return int(survived > 0)


def noticed(m: Mutation) -> str:
    """The first test that fails on the mutation; "" where none does."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv*", "__pycache__"))
        path = copy / "seqlatent" / m.file
        code = path.read_text()
        if code.count(m.old) < 1:
            raise SystemExit(f"{m.name}: {m.file} does not have the code that it changes")
        path.write_text(code.replace(m.old, m.new))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "",
                   *(f"tests/test_{t}.py" for t in m.tests)]  # fmt: skip
        env = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if not lines:
        raise SystemExit(f"{m.name}: the tests could not run: {done.stdout[-500:]}{done.stderr}")
    return lines[0].split()[1]


if __name__ == "__main__":
    sys.exit(main())
