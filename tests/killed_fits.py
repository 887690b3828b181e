"""Fits that are killed by SIGKILL, over and over, and resumed; run as a program of one thread.

    python tests/killed_fits.py FOLDER --kills 50 [--seed 0]

Each fit is a fork of this process, which has loaded everything. A kill falls at a random moment of
a fit, or just before or after one of the files that it writes takes its place: checkpoints, curve,
weights and configuration. Prints a JSON object: how many kills there were, of which kind, and
whether every resumed fit ended with the weights of one that was left alone.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from seqlatent.cli.app import run_command
from seqlatent.training import fitting

OPTIONS = ["--max-steps", "60", "--set", "hidden_dim=4", "--set", "eval_every=7",
           "--set", "patience=1", "--quiet"]  # fmt: skip


def fork(command: list[str], prepare: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        prepare()
        os._exit(run_command(command))
    return pid


def killed_at_write(number: int, before: bool) -> Callable[[], None]:
    """Have the process kill itself at its n-th file."""

    def prepare() -> None:
        whole, count = os.replace, 0

        def replace(source, target):
            nonlocal count
            count += 1
            if count == number and before:
                os.kill(os.getpid(), signal.SIGKILL)
            whole(source, target)
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = replace

    return prepare


def ended(pid: int) -> bool:
    """Wait for a fit; whether it came to its end. It must not fail in any other way."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status == 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    fitting.CHECKPOINT_SECONDS = 0.02
    rng = random.Random(args.seed)
    start = time.perf_counter()
    command = ["fit", "nile", *OPTIONS, "--out"]
    assert ended(fork([*command, str(args.folder / "whole")], lambda: None))
    length = time.perf_counter() - start
    files = ("config.json", "model.safetensors")
    expected = [(args.folder / "whole" / name).read_bytes() for name in files[1:]]
    counts = {"random": 0, "at a file": 0, "fits": 0, "resumed": 0}
    same = True
    while counts["random"] + counts["at a file"] < args.kills:
        run = args.folder / f"run-{counts['fits']}"
        counts["fits"] += 1
        for _ in range(20):
            counts["resumed"] += (run / "checkpoint.json").is_file()
            arguments = [*command, str(run), "--resume"]
            if rng.random() < 0.5:
                number, before = rng.randint(1, 12), rng.random() < 0.5
                done = ended(fork(arguments, killed_at_write(number, before)))
                counts["at a file"] += not done
            else:
                pid = fork(arguments, lambda: None)
                time.sleep(rng.uniform(0, 1.2 * length))
                os.kill(pid, signal.SIGKILL)
                done = ended(pid)
                counts["random"] += not done
            if done or counts["random"] + counts["at a file"] >= args.kills:
                break
        assert ended(fork([*command, str(run), "--resume"], lambda: None))
        found = sorted(path.name for path in run.iterdir())
        same &= found == [*files, "training_curve.csv"]
        same &= [(run / name).read_bytes() for name in files[1:]] == expected
    print(json.dumps({**counts, "same": same, "seconds": round(time.perf_counter() - start, 1)}))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
