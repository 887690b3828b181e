"""Piano rolls of the literature, read through long tables like any other data."""

from pathlib import Path

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.readers import load
from seqlatent.errors import InputError

FILES = {"jsb": "jsb_chorales", "nottingham": "nottingham"}
PARTS = ("train", "valid", "test")
LOWEST, KEYS = 21, 88  # the piano's, as MIDI pitches


def read_rolls(folder: Path, name: str, out: Path) -> dict[str, SequenceDataset]:
    """The three parts, through a table each."""
    path = folder / f"{FILES[name]}.npz"
    if not path.is_file():
        raise InputError(f"{path}: no such file (--data)")
    arrays = np.load(path)
    parts = {}
    for part in PARTS:
        table = out / f"{name}-{part}.parquet"
        if not table.exists():
            try:
                frame = roll_table(*(arrays[f"{part}_{k}"] for k in
                                     ("notes", "note_counts", "lengths")))  # fmt: skip
            except KeyError as error:
                raise InputError(f"{path}: the array {error} is not there") from None
            out.mkdir(parents=True, exist_ok=True)
            frame.to_parquet(table)
        parts[part] = load(table)
    return parts


def roll_table(notes: np.ndarray, counts: np.ndarray, lengths: np.ndarray) -> pd.DataFrame:
    """`unique_id, ds` and the keys `k21` to `k108`, each 0 or 1."""
    roll = np.zeros((len(counts), KEYS), dtype=np.int8)
    roll[np.repeat(np.arange(len(counts)), counts), notes.astype(int) - LOWEST] = 1
    frame = pd.DataFrame(roll, columns=[f"k{LOWEST + d}" for d in range(KEYS)])
    frame.insert(0, "ds", np.concatenate([np.arange(n) for n in lengths]))
    frame.insert(0, "unique_id", np.repeat([f"{i:04d}" for i in range(len(lengths))], lengths))
    return frame


def moved(data: SequenceDataset, semitones: int) -> SequenceDataset:
    """Every sequence in another key.

    Raises:
        InputError: where a note would leave the keyboard.
    """
    x = [s.x for s in data]
    lost = slice(KEYS - semitones, None) if semitones > 0 else slice(0, -semitones)
    if any(v[:, lost].any() for v in x):
        raise InputError(f"{data.name}: {semitones} semitones away a note leaves the keyboard")
    names = data.targets
    return SequenceDataset.from_list([np.roll(v, semitones, axis=1) for v in x], names, data.name)
