"""Sequential latent-variable models for time series.

    import seqlatent as sl
    data = sl.load("sunspots")
    model = sl.RNN().fit(data)
    model.log_prob(data)
    model.forecast(data, prediction_length=24).plot("forecast.png")

Names are imported when first used: `import seqlatent` alone loads neither torch nor pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "CNN": "seqlatent.api",
    "DMM": "seqlatent.api",
    "RNN": "seqlatent.api",
    "SRNN": "seqlatent.api",
    "VRNN": "seqlatent.api",
    "Flow": "seqlatent.api",
    "Forecast": "seqlatent.tasks.forecasting",
    "Imputation": "seqlatent.tasks.imputing",
    "InputError": "seqlatent.errors",
    "Latent": "seqlatent.api",
    "LinearGaussian": "seqlatent.api",
    "SequenceBatch": "seqlatent.data.batch",
    "SequenceDataset": "seqlatent.data.dataset",
    "Transformer": "seqlatent.api",
    "load": "seqlatent.data.readers",
    "load_model": "seqlatent.api",
}
__all__ = [
    "CNN",
    "DMM",
    "RNN",
    "SRNN",
    "VRNN",
    "Flow",
    "Forecast",
    "Imputation",
    "InputError",
    "Latent",
    "LinearGaussian",
    "SequenceBatch",
    "SequenceDataset",
    "Transformer",
    "load",
    "load_model",
]

if TYPE_CHECKING:
    from seqlatent.api import (
        CNN,
        DMM,
        RNN,
        SRNN,
        VRNN,
        Flow,
        Latent,
        LinearGaussian,
        Transformer,
        load_model,
    )
    from seqlatent.data.batch import SequenceBatch
    from seqlatent.data.dataset import SequenceDataset
    from seqlatent.data.readers import load
    from seqlatent.errors import InputError
    from seqlatent.tasks.forecasting import Forecast
    from seqlatent.tasks.imputing import Imputation


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'seqlatent' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
