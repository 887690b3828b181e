"""Random changes to training batches: their effects and their limits."""

import numpy as np
import pytest
import torch
from cases import dataset, model

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.options import make
from seqlatent.training.augmentation import (
    add_noise,
    check_augmentation,
    shift_channels,
)
from seqlatent.training.options import TrainingOptions


def rolls(num: int = 400, lowest: int = 3, highest: int = 7, channels: int = 10) -> SequenceBatch:
    """Two-step sequences that use the channels from `lowest` to `highest`."""
    x = np.zeros((num, 2, channels))
    x[:, 0, lowest] = 1
    x[:, 1, highest] = 2
    return collate(SequenceDataset.from_arrays(x).sequences)


def test_whole_sequences_are_shifted_and_all_amounts_are_equally_likely():
    torch.manual_seed(0)
    before, after = rolls(4000), shift_channels(rolls(4000), 2)
    shift = after.x[:, 0].argmax(-1) - 3
    assert torch.equal(after.x[:, 1].argmax(-1) - 7, shift)
    assert torch.equal(after.x.sum(), before.x.sum())
    counts = torch.bincount(shift + 2, minlength=5)
    assert len(counts) == 5
    assert ((counts / 4000 - 0.2).abs() < 4 * (0.2 * 0.8 / 4000) ** 0.5).all()


@pytest.mark.parametrize(("most", "lowest", "highest"), [(6, -3, 2), (1, -1, 1), (2, -2, 2)])
def test_nothing_is_shifted_out(most: int, lowest: int, highest: int):
    torch.manual_seed(1)
    shift = shift_channels(rolls(), most).x[:, 0].argmax(-1) - 3
    assert (int(shift.min()), int(shift.max())) == (lowest, highest)


def test_a_silent_sequence_and_missing_values():
    silent = collate(SequenceDataset.from_arrays(np.zeros((3, 4, 5))).sequences)
    assert torch.equal(shift_channels(silent, 3).x, silent.x)
    x = np.zeros((50, 1, 6))
    x[:, 0, 2], x[:, 0, 3] = 1, np.nan
    moved = shift_channels(collate(SequenceDataset.from_arrays(x).sequences), 2)
    assert torch.equal(moved.x.argmax(-1) + 1, (~moved.observed).long().argmax(-1))


def test_noise_has_the_given_size_in_units_of_each_channel():
    torch.manual_seed(0)
    x = np.zeros((500, 20, 2))
    x[0, 0, 0] = np.nan
    batch = collate(SequenceDataset.from_arrays(x).sequences)
    noisy = add_noise(batch, 0.1, torch.tensor([1.0, 30.0]))
    spread = noisy.x.flatten(0, 1).std(0)
    torch.testing.assert_close(spread, torch.tensor([0.1, 3.0]).double(), rtol=0.03, atol=0)
    assert noisy.x[0, 0, 0] == 0


def test_augmentation_that_does_not_suit_the_data_is_refused():
    for options, emission, kind, words in (
        ({"noise": 0.1}, "poisson", "count", "noise=0.1 is for real values"),
        ({"shift_channels": 1}, "mixture", "real", "shift_channels=1 is for channels"),
        ({"shift_channels": 2}, "bernoulli", "binary", "below the number of channels, 2"),
    ):
        m = model("rnn", emission, dataset(kind, channels=2))
        with pytest.raises(InputError, match=words):
            check_augmentation(m, make(TrainingOptions, options))
