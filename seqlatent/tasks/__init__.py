"""What a fitted model is asked: scores, forecasts, imputations, latents.

Scores
------
A score is log p(x_{1:T}) of a sequence, in nats.

- *Data units*: in other units it moves by exactly the log-Jacobian.
- *Kind*: `exact`; or an estimate that is a lower bound in expectation, with its standard error, the
  effective sample size of its particles (`ess`) and how far they raise the bound over that of one
  particle (`gap`). `iwae` is importance sampling, step by step where the posterior of the latents
  factorises over time; `smc` is four particle filters, where latents depend on earlier ones; `elbo`
  is one particle. `estimator` overrides the choice, `num_particles` says how many, and
  `target_error=0.01` raises their number until the standard error per step is below it.
- *Steps*: every observed step counts, the first too, and averages are flat over steps. A missing
  value is left out. The other sequences in the data do not change a sequence's score. Where
  training had no missing values and the data to score has, a warning says so; `hide=0.05` in
  training makes a model practise.
- *Scaling*: scalers are fitted on training data alone; with `scaling=prefix`, on each series' own
  first `context_length` steps, which are conditioned on and not scored. Where successive values are
  close, as exchange rates are, a model of the level loses to a random walk: `scaling=increments`
  with `context_length=1` lets every model read each value less the one before it. The density is
  still one of the values, given the first. `fit` says when it may help.
- *Grids*: values recorded on a grid can be given an unbounded density. Scales have a floor tied to
  the grid, and a warning says when a likelihood rests on it.

Forecasts
---------
Joint sample paths of what comes after each sequence, drawn step by step.

Latents ------- `encode` gives the mean and scale of every latent at every step, and samples on
request. By default they are the guide's, for `linear-gaussian` those of p(z_t | x_{1:T}), by the
smoother. With `posterior="filtering"` they are those of p(z_t | x_{1:t}), with `smoothing` those of
p(z_{1:T} | x_{1:T}): exact for `linear-gaussian`, elsewhere the guide's samples, weighted. A
warning says where too few samples count. For `flow` they are exact codes, and `decode` goes back.

`inspect` says how `latent` and its presets use their latents: the KL between guide and prior, of
each latent and by step; how many latents are active (Burda et al. 2016); how far the guide is from
the posterior, KL(q(z | x) || p(z | x)) on the data and KL(p(z | x) || q(z | x)) on sequences that
the model draws itself; and what is left of the values in p(x_t | history, z_t), which `reconstruct`
gives as a frame.

Gaps ---- `impute` samples missing values given all observed ones, before and after: exactly for
`linear-gaussian`, elsewhere by at least 1024 weighted paths. Channels that are missing beside
observed ones are sampled given them. A gap's samples are settled 32 observed steps after it
(`lag`). A flow that is conditioned on latents cannot do it.

Music
-----
A piano roll is a table with a column of 0 and 1 for each key, as in the bundled `four-voices`; the
emission is then `subset`. Pictures draw more than eight channels as rolls. Helpful in training:
`shift_channels=5` moves each piece up or down by as many semitones, `average=0.99` keeps a moving
average of the parameters, and `recall_heads=4` reads passages that return.
"""

from seqlatent.tasks.decoding import decode
from seqlatent.tasks.encoding import Latents, encode
from seqlatent.tasks.forecasting import Forecast, forecast, sample
from seqlatent.tasks.imputing import Imputation, impute
from seqlatent.tasks.inspecting import inspect, reconstruct
from seqlatent.tasks.inspection import Inspection
from seqlatent.tasks.scoring import score

__all__ = [
    "Forecast",
    "Imputation",
    "Inspection",
    "Latents",
    "decode",
    "encode",
    "forecast",
    "impute",
    "inspect",
    "reconstruct",
    "sample",
    "score",
]
