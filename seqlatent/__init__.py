"""Sequential latent-variable models for time series.

    import seqlatent as sl
    data = sl.load("sunspots")
    model = sl.RNN().fit(data)
    model.log_prob(data)
    model.forecast(data, prediction_length=24).plot("forecast.png")

The models' classes, `RNN`, `Latent`, `Flow` and so on, come from the registry: those of other
packages are here too. Names are imported when first used: `import seqlatent` alone loads neither
torch nor pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Auto": "seqlatent.several.auto",
    "Detection": "seqlatent.tasks.detecting",
    "Detector": "seqlatent.tasks.watching",
    "Evaluation": "seqlatent.tasks.evaluation",
    "Forecast": "seqlatent.tasks.forecasting",
    "Imputation": "seqlatent.tasks.imputing",
    "InputError": "seqlatent.errors",
    "SequenceBatch": "seqlatent.data.batch",
    "SequenceDataset": "seqlatent.data.dataset",
    "Comparison": "seqlatent.comparing.results",
    "Stream": "seqlatent.tasks.single_stream",
    "Streams": "seqlatent.tasks.streaming",
    "collate": "seqlatent.data.batch",
    "combine": "seqlatent.several.combining",
    "compare": "seqlatent.comparing.compare",
    "load": "seqlatent.data.readers",
    "load_model": "seqlatent.api",
    "measure_drawn": "seqlatent.measures.measuring",
    "register_emission": "seqlatent.distributions.emission",
    "register_model": "seqlatent.models.registry",
    "register_network": "seqlatent.nn.build",
}
__all__ = [
    "Auto",
    "Comparison",
    "Detection",
    "Detector",
    "Evaluation",
    "Forecast",
    "Imputation",
    "InputError",
    "SequenceBatch",
    "SequenceDataset",
    "Stream",
    "Streams",
    "collate",
    "combine",
    "compare",
    "load",
    "load_model",
    "measure_drawn",
    "register_emission",
    "register_model",
    "register_network",
]

if TYPE_CHECKING:
    from seqlatent.api import load_model
    from seqlatent.comparing.compare import compare
    from seqlatent.comparing.results import Comparison
    from seqlatent.data.batch import SequenceBatch, collate
    from seqlatent.data.dataset import SequenceDataset
    from seqlatent.data.readers import load
    from seqlatent.distributions.emission import register_emission
    from seqlatent.errors import InputError
    from seqlatent.measures.measuring import measure_drawn
    from seqlatent.models.registry import register_model
    from seqlatent.nn.build import register_network
    from seqlatent.several.auto import Auto
    from seqlatent.several.combining import combine
    from seqlatent.tasks.detecting import Detection
    from seqlatent.tasks.evaluation import Evaluation
    from seqlatent.tasks.forecasting import Forecast
    from seqlatent.tasks.imputing import Imputation
    from seqlatent.tasks.single_stream import Stream
    from seqlatent.tasks.streaming import Streams
    from seqlatent.tasks.watching import Detector


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    # The class of a model, such as RNN.
    if not name.startswith("_") and name[:1].isupper():
        found = import_module("seqlatent.api").CLASSES.named(name)
        if found is not None:
            return found
    raise AttributeError(f"module 'seqlatent' has no attribute '{name}'")


def __dir__() -> list[str]:
    classes = import_module("seqlatent.api").CLASSES
    return sorted([*globals(), *_HOMES, *classes.names()])
