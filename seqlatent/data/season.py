"""Season lengths (stub until the real one is merged)."""

from seqlatent.data.dataset import SequenceDataset

STEPS = {"h": (24, 168), "D": (7,), "B": (5,), "MS": (12,), "ME": (12,), "QS": (4,), "QE": (4,)}


def seasons_of(data: SequenceDataset) -> tuple[int, ...]:
    f = data.frequency
    if isinstance(f, str):
        return STEPS.get(f.split("-")[0], ())
    return ()
