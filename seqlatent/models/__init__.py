"""The models by name. Each module holds its equations beside the code.

    rnn, cnn, transformer    p(x_t | x_{<t}) by a GRU or LSTM, by dilated causal      exact
                             convolution, by causal attention
    flow                     z_t = f_t(x_t; past), f_t invertible, z_t ~ N(0, I)      exact
    latent                   p(x_t | history, z_t) with a guide q(z_t | x, z_{<t})    iwae
    vrnn, srnn, dmm          the same, with latents that depend on earlier ones       smc
    linear-gaussian          x_t = C z_t + d + noise, z_t = A z_{t-1} + noise,        exact
                             by the Kalman filter

The last column is the kind of the likelihood; `seqlatent.tasks` says what the kinds are. A model is
a causal network over time (`seqlatent.nn`) and a head (`seqlatent.distributions`). With a
context, its first `context_length` steps, it conditions on these and does not score them.

Which to choose. `rnn` is a strong default. `flow` gives each sequence an exact code. `latent` and
its presets put a state behind the values; with a mixture as the emission their latents often end
unused, because the emission alone explains the data: `emission=normal` leaves more to them. Measure
any of them against `linear-gaussian`.

Recall. A recurrent state forgets. Where long passages return, as in tunes or in runs of a
procedure, `recall_heads=4` lets `rnn` search the last `recall_window` (512) steps for ones like the
present and read what followed them. The likelihood stays exact. On folk tunes it halves what is
left to explain; on most other data it decides little, and its cost grows with the square of the
training windows' length. It is off by default (`seqlatent.nn.recall`).
"""

from seqlatent.models.autoregressive import Autoregressive, AutoregressiveOptions
from seqlatent.models.base import ModelOptions, SequenceModel
from seqlatent.models.emission_model import EmissionModel, EmissionModelOptions
from seqlatent.models.registry import MODELS, build_model, register_model

__all__ = [
    "MODELS",
    "Autoregressive",
    "AutoregressiveOptions",
    "EmissionModel",
    "EmissionModelOptions",
    "ModelOptions",
    "SequenceModel",
    "build_model",
    "register_model",
]
