"""What tests of the command line share: small options, column names, and looks at what it wrote."""

import json
from pathlib import Path

import matplotlib.image
import numpy as np

from seqlatent.cli.app import run_command

TINY = ["--max-steps", "2", "--set", "hidden_dim=4", "--quiet"]
GOOD = "ds,y\n" + "".join(f"{t},{t % 7 - 2.5}\n" for t in range(30))
SCORES = [
    "unique_id",
    "log_prob",
    "std_error",
    "lower",
    "upper",
    "kind",
    "num_particles",
    "num_observed",
    "nats_per_step",
    "ess",
    "gap",
    "worst_share",
]
QUANTILES = ["q0.05", "q0.1", "q0.25", "q0.5", "q0.75", "q0.9", "q0.95"]
FORECAST = ["unique_id", "ds", "target", "mean", *QUANTILES]


def check_picture(name: str) -> None:
    """A PNG of some size on which something is drawn."""
    pixels = matplotlib.image.imread(name)
    assert min(pixels.shape[:2]) > 100
    colours = (pixels[..., :3] * 255).astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    assert len(np.unique(colours)) > 10


def saved_config() -> dict:
    return json.loads(Path("run/config.json").read_text(encoding="utf-8"))


def saved_options() -> dict:
    config = saved_config()
    return config["options"] | config["fitted"]["training"]


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in folder.rglob("*")
    }


def refuse(arguments: list[str], words: str, folder: Path, capsys) -> str:
    """Check that a command fails as it should; `words` are looked for one by one."""
    before = snapshot(folder)
    capsys.readouterr()
    status = run_command(arguments)
    out, err = capsys.readouterr()
    assert status == 2, err
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("seqlatent: ")
    missing = [word for word in words.split() if word not in lines[0]]
    assert not missing, f"{missing} not in: {lines[0]}"
    assert snapshot(folder) == before
    return lines[0]
