"""What a fitted model computes: scores, forecasts, imputations, latents.

Scores
------
A score is log p(x_{1:T}) of a sequence, in nats.

- *Units*: scores are in data units. In other units they differ by exactly the log-Jacobian.
- *Kind*: `exact`, a computed `bound`, or an estimate. Estimates are lower bounds in expectation.
  They have a standard error, the effective sample size of the particles (`ess`), and the difference
  between the estimate and the bound with one particle (`gap`). `iwae` is importance sampling, step
  by step where the posterior of the latents factorises over time; `smc` is four particle filters,
  for latents that depend on earlier ones; `elbo` has one particle. `estimator` overrides the
  choice, `num_particles` sets the number of particles, and `target_error=0.01` raises it until the
  standard error per step is at most 0.01.
- *Steps*: every observed step counts, the first one too, and averages are over all steps. Missing
  values are left out. The other sequences in the data do not change a sequence's score. If the data
  has missing values and the training data had none, there is a warning; with `hide=0.05` in
  training a model learns to read gaps.
- *Scaling*: real values are scaled by a chain of maps, one or more words joined by `+`: on a
  logarithmic scale (`log`), by the mean and spread of the series' own past (`running`), less the
  value before (`increments`) or the one a season ago (`seasonal`), or by the training data alone
  (`global`, `none`). Each map depends on earlier values only, and its determinant is part of the
  density, so that a score is that of the values, the first one included, whatever the chain.
  By default (`auto`) `fit` compares the chains by held-out likelihood and says which one it takes:
  first with linear models, then, where the budget allows, with short fits of the model, which take
  at most 30 % of it. Of the chains that are about as good as the best, it takes the simplest.
- *Known in advance*: where the steps have a frequency, the phases of the day, week, month and year
  that the data have seen twice are covariates (`calendar`), and networks see the value a season ago
  (`season`, `lags`). Such a model needs timestamps; one that was fitted with `calendar=none` does
  not.
- *Wild values*: a value more than ten scaled units out is scored by tails that bend, at tens of
  nats, and what follows is predicted as if it were missing. After three in a row the series counts
  as moved. A notice names the first few that are far outside, and `worst_share` says how much of a
  sequence's surprise, beyond its median step's, its three worst steps make.
- *Grids*: on values that are recorded on a grid, a density can become arbitrarily high. Therefore
  scales have a floor tied to the grid, and a warning says when it determines a likelihood.

Forecasts
---------
Joint sample paths of the steps after each sequence, sampled step by step.

Evaluation
----------
`evaluate` forecasts the last steps of every series in windows and compares them with what came:
CRPS, quantile loss, energy and variogram scores of whole paths, log p(future | past), scaled and
percentage errors, coverage of values and of whole paths, PIT. Beside it stand the last season again
and a random walk. Scores of data that the model was fitted to flatter it: give it later data, or
`refit=True`. Where the log score is an estimate, it is the difference of two lower bounds, and none
itself.

Latents
-------
`encode` gives the mean and scale of every latent at every step, and samples on request. By default
they are those of the guide, or for `linear-gaussian` those of p(z_t | x_{1:T}) by the smoother.
With `posterior="filtering"` they are those of p(z_t | x_{1:t}), and with `"smoothing"` those of
p(z_{1:T} | x_{1:T}): exact for `linear-gaussian`, elsewhere by weighted samples of the guide. A
warning says where the effective number of samples is small. The latents of `flow` are exact, and
`decode` is the inverse.

`inspect` shows how `latent` and its presets use their latents: the KL between guide and prior, by
latent and by step; the number of active latents (Burda et al. 2016); how far the guide is from the
posterior, by KL(q(z | x) || p(z | x)) on the data and KL(p(z | x) || q(z | x)) on sequences sampled
from the model; and how well p(x_t | history, z_t) reconstructs the values, which `reconstruct`
gives as a frame.

Gaps
----
`impute` samples missing values given all observed ones, before and after: exactly for
`linear-gaussian`, elsewhere by at least 1024 weighted paths. If only some channels of a step are
missing, they are sampled given the observed ones. The samples of a gap are final 32 observed steps
after it (`lag`). A flow that is conditioned on latents cannot impute.

Music
-----
A piano roll is a table with a column of 0 and 1 for each key, as in the bundled `four-voices`; the
emission is then `subset`. Pictures show more than eight channels as rolls. Helpful in training:
`shift_channels=5` transposes each piece by up to five semitones, `average=0.99` keeps a moving
average of the parameters, and with `recall_heads=4` a model can read passages that return.
"""

from seqlatent.tasks.decoding import decode
from seqlatent.tasks.encoding import Latents, encode
from seqlatent.tasks.evaluating import evaluate
from seqlatent.tasks.evaluation import Evaluation
from seqlatent.tasks.forecasting import Forecast, forecast, sample
from seqlatent.tasks.imputing import Imputation, impute
from seqlatent.tasks.inspecting import inspect, reconstruct
from seqlatent.tasks.inspection import Inspection
from seqlatent.tasks.scoring import score

__all__ = [
    "Evaluation",
    "Forecast",
    "Imputation",
    "Inspection",
    "Latents",
    "decode",
    "encode",
    "evaluate",
    "forecast",
    "impute",
    "inspect",
    "reconstruct",
    "sample",
    "score",
]
