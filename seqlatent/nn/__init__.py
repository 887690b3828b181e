"""Causal networks over time, and what stands before them: scaling and layers.

Every network over time is a `CausalNetwork` (`causal.py`): h_t depends on u_{1:t} alone, and a call
returns a state from which the next one goes on. Training reads whole sequences in parallel,
sampling reads one step at a time, and scoring a long series reads chunks: all three are this one
function.

    recurrent.py      GRU and LSTM
    convolution.py    dilated causal convolution, padded on the left only
    attention.py      causal attention with a key-value cache
    recall.py         attention to what followed earlier steps like the present one
    feedforward.py    the last k steps through a feed-forward network
    layers.py         activation and normalisation
    scaling.py        scalers, which never see a value that they help to score
"""

from seqlatent.nn.attention import CausalTransformer
from seqlatent.nn.build import NETWORKS, build_network, register_network
from seqlatent.nn.causal import CausalNetwork, State
from seqlatent.nn.convolution import Convolution
from seqlatent.nn.feedforward import WindowMLP
from seqlatent.nn.recall import Recall
from seqlatent.nn.recurrent import Recurrent
from seqlatent.nn.scaling import CovariateScaler, Scaler, Scaling

__all__ = [
    "NETWORKS",
    "CausalNetwork",
    "CausalTransformer",
    "Convolution",
    "CovariateScaler",
    "Recall",
    "Recurrent",
    "Scaler",
    "Scaling",
    "State",
    "WindowMLP",
    "build_network",
    "register_network",
]
