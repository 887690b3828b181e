"""The models by name. The docstring of each module has its equations.

    rnn, cnn, transformer    p(x_t | x_{<t}) by recurrent layers, dilated causal      exact
                             convolution, causal attention
    flow                     z_t = f_t(x_t; past), f_t invertible, z_t ~ N(0, I)      exact
    diffusion                x_t, or a block of steps from t on, denoised from        ode
                             N(0, I) given the past
    gan, wgan                x_t = g(x_{<t}, e_t), by a critic of windows             none
    latent                   p(z_t | z_{t-1}, x_{t-1}) p(x_t | z_t) with a guide      smc
                             q(z_t | x, z_{<t}); with prior=independent,              iwae
                             z_t ~ N(0, I) and p(x_t | x_{t-1}, z_t)
    vrnn, srnn, dmm          presets of it, after three papers                        smc
    linear-gaussian          x_t = C z_t + d + noise, z_t = A z_{t-1} + noise,        exact
                             by the Kalman filter
    switching                p(x_t | x_{<t}, s_t), s_t a hidden Markov chain,         exact
                             by the forward algorithm
    autoencoder              z_t = e(window around x_t), values d(z_t)                none
    mixture                  sum_k w_tk p_k(x_t | x_{<t}) of fitted models            exact;
                             (with a diffusion among them)                            ode

The last column is the kind of the likelihood, if there is one; `seqlatent.tasks` explains the
kinds. Most models are a causal network over time (`seqlatent.nn`) with an emission head
(`seqlatent.distributions`). The first `context_length` steps of a sequence are conditioned on and
not scored.

Which to choose. `rnn` is a strong default. `flow` gives each sequence exact latents. `latent` and
its presets have a latent state behind the values. Where the emission sees the past too
(`history`) and is a mixture, they often remain unused, because it explains the data alone.
Compare any of them with `linear-gaussian`. `autoencoder` is for the errors of its reconstruction.

Without a likelihood. `gan` and `wgan` draw, and are measured by their forecasts and draws alone.
They are kept by the energy score of held-out windows that run freely, a fit ends with a warning
where modes have collapsed or the critic has won, and `scaling=auto` is chosen by linear models.

Several fits. Each fit ends in other parameters. The mixture of a few (`fit --members 4`) scores at
least as high as they do on average, and is less a matter of luck; its forecasts take as many times
longer (`seqlatent.models.mixture`).

Recall. A recurrent state forgets. Where long passages return, as in tunes or in runs of a
procedure, `recall_heads=4` lets `rnn` attend to the last `recall_window` (512) steps, to those
similar to the current one, and read what followed them. The likelihood stays exact. On folk tunes
it halves the remaining nats per step; on most other data it makes little difference. Its cost grows
with the square of the training windows' length. It is off by default (`seqlatent.nn.recall`).
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
