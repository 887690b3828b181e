"""What a fitted model computes: scores, forecasts, imputations, latents.

Scores
------
A score is log p(x_{1:T}) of a sequence, in nats.

- *Units*: scores are in data units. In other units they differ by exactly the log-Jacobian.
- *Kind*: `exact`; `ode`, computed by solving an equation in steps; a computed `bound`; `sampled`,
  exact but for steps observed in part, on request; or an estimate. Estimates are unbiased for p(x),
  and so their logarithms are lower bounds in expectation. They have the effective sample size of
  the particles (`ess`), and the difference between the estimate and the bound with one particle
  (`gap`). `iwae` is importance sampling, step by step where the posterior of the latents factorises
  over time; `smc` is six particle filters, for latents that depend on earlier ones; `elbo` has one
  particle. `estimator` overrides the choice, and `num_particles` sets the number of particles.
- *Error*: estimates have a standard error (`std_error`) and a 95 % interval for log p(x) (`lower`,
  `upper`), whose middle is above the estimate, as that is too low on average. Where a guide is too
  far from the posterior for its samples to tell how far, `std_error` is NaN, `upper` is inf,
  `lower` is the estimate less log 20, which holds with 95 % whatever the guide, and a warning says
  which series it is and what helps. (After a context, a filter has no such bound: `lower` is -inf.)
  No test of samples finds what all of them missed: a mode of the posterior that no particle came
  near stays unseen. `target_error=0.01` raises the number of particles until the standard error
  per step is at most 0.01, and is never reached where no error can be told.
  For `ode` the interval is the solver's error, estimated by steps of twice the size.
  `seqlatent.inference.errors` has the formulas, `scripts/RESULTS.md` how often the intervals hold.
- *Single steps*: with a guide that sees later values (`srnn`, `dmm`), a step's number depends on
  these too, as the table says (`sees_later`): only the sum estimates a log-likelihood. Of blocks of
  steps (`diffusion` with block=B) it is what the step adds to the log density of its block, by
  earlier values alone (`of_block`): the sum is a log density, a single number is nearly one.
- *Steps observed in part*: an emission that models channels one after another, or as a set, reads a
  missing channel as hidden. What it gives for the channels that were seen is their density given
  that the others are hidden: a density, but not their marginal one (`partial`). It is the marginal
  where channels are independent, where their covariances are modelled, and where no seen channel
  comes after a missing one. `marginal_draws=64` estimates the marginal of all other such steps by
  draws of what is missing. Their sequences then have the kind `sampled`, with a standard error and
  an interval, and the others stay `exact`. The steps after them see what was observed, and no
  draws, so that their own numbers are the same either way. `latent` and its presets have no such
  draws; with channels=independent they need none. `seqlatent.inference.marginals` has the formula,
  and what `mixture` and `switching` make of it.
- *Tail probabilities*: on request (`tail_draws`), each step has the probability of a value at least
  as surprising, given the steps before it: uniform if the model is true and values are real. Only
  models whose kind is `exact` have it. `seqlatent.inference.rarity` has the formulas.
- *Streams*: `stream` reads rows as they come and gives the same numbers: exact ones, and estimates
  by the same particles, where seed and series' names are the same. It tells no error of an
  estimate, and refuses guides that see later values. After each row it has the filtered latents,
  p(z_t | x_{1:t}), and samples of the next step. Steps of the training data's frequency that are
  left out are read as missing, with covariates of 0.
- *Intervals of streams*: with `intervals=(0.5, 0.8, 0.95)` a stream says of each real value or
  count which central intervals it was expected in before it came, and `predict_intervals` gives
  those of the next step, by draws of the model (`interval_draws`). They hold their share of the
  values if the model is true. With `conformal=True` the lower and the upper ends of each series are
  moved after each value, so that in the long run each side is missed by half of what the level
  leaves, even if the model is wrong or the series changes. This is adaptive conformal inference
  (Gibbs and Candes 2021): after T values the share of misses of a side is off by at most
  (3/4 + gamma) / (gamma T), whatever comes. That is a promise of shares over time, and none of a
  single step. Where the model is right, intervals become about 2 % wider with the usual step
  gamma = 0.01; a larger one (`conformal=0.05`) follows changes faster. Intervals of counts hold at
  least their share. Missing values move nothing. `seqlatent.tasks.conformal` has the formulas.
- *Steps*: every observed step counts, the first one too, and averages are over all steps. Missing
  values are left out. The other sequences in the data do not change a sequence's score. In
  training, networks read some real values as missing, whole gaps of them, and so learn what follows
  a gap. Counts, labels, unscaled values, and values less the one a season ago they always read,
  and so do `gan`, `wgan` and flows with an autoregressive base: where such data have missing values
  and the training data had none, there is a warning, and with `hide=0.05` in training a model
  learns to read them.
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
  and, with 20,000 values or more, the two beside it (`season`, `lags`). Such a model needs
  timestamps; one that was fitted with `calendar=none` does not.
- *Static features*: columns with one value for each series (`static`) are seen at every step, the
  first one too. Numbers are scaled as covariates are; texts, and `unique_id` on request, are
  categories, each with a vector that is learnt. In training, 5 % of the categories drawn count as
  not seen, so that a series of a new category has a score; a warning counts such series.
- *Known up to now*: p(x_t | .) may depend on past covariates (`past_covariates`) of steps before t,
  never on that of step t. They may be missing. In training they end at a random step in half of the
  sequences; a forecast knows those up to its first step, and is told that later ones are missing.
  A score has those of every step; `log p(future | past)` of `evaluate` those before its origin.
- *Wild values*: a value more than ten scaled units out is scored by tails that bend, at tens of
  nats, and what follows is predicted as if it were missing. After three in a row the series counts
  as moved. Counts far out are cheap too, but they are read: the next predictions are changed by
  them. A notice names the first few that are far outside, and `worst_share` says how much of a
  sequence's surprise, beyond its median step's, its three worst steps make.
- *Grids*: on values that are recorded on a grid, a density can become arbitrarily high. Therefore
  scales have a floor tied to the grid, and a warning says when it determines a likelihood.

Anomalies
---------
`detect` scores each step by how rare two things are among the last `memory` steps: the moving mean
of the surprise -log p(x_t | x_{<t}), and the values themselves, which tell of what the model takes
for ordinary as it goes along (`seqlatent.tasks.novelty`). An alarm is a score above a threshold,
with a rest of at most 100 steps after it, which only a much rarer step ends. `false_alarms` is the
number of alarms per thousand steps. The threshold begins where the data that it is calibrated on
have alarms at that rate: those that the fit held out, where they are known, or others
(`calibrate`). Give it data without anomalies: those in it raise the threshold. Of a series that
begins anew the values cannot be rare for its first 50 steps.

From there on the threshold follows the alarms of each series (`seqlatent.tasks.following`), so that
their rate holds where the data drift. What stays anomalous becomes ordinary: an alarm says that
something has changed, and not for how long. With `memory=0` the score is the moving mean of
surprise, and the threshold stays; `false_alarms` is then the number of alarmed steps, all of an
interval. It wants thousands of held-out steps, or a half-life of 2 in place of 8. Where the data
drift away from those of the calibration, false alarms come more often then, and a warning says so
from ten times the rate on. `score` of the table of steps can be compared along a series and between
series.

The surprise of a step is high where the values are unlikely *or* the model expects them to spread
widely. A series of which both calm and noisy stretches are ordinary has its alarms in the noisy
ones.

`detector` reads one row after another, and gives the same numbers. Steps that are missing between
two rows are read as such, whatever their number; tables fill them in only where they are few.

Classification
--------------
A model of each class makes a classifier: with `models`, a dictionary of fits, and the shares of the
classes `prior`,

    score = {c: m.log_prob(data)["log_prob"] + np.log(prior[c]) for c, m in models.items()}
    classes = pd.DataFrame(score).idxmax(axis=1)

`scripts/reproduce_classes.py` does so, and `tests/test_reproduce_classes.py` holds it to the best
rule of known processes.

Forecasts
---------
Joint sample paths of the steps after each sequence, sampled step by step. They keep within a room
around the series' level, and stop where the training data stop, such as rain at 0, unless the
series' own level is beyond (`seqlatent.nn.limits`): samples alone are cut, no density.

`future` holds what is known of these steps: covariates, and values of targets, empty where they are
not known ("what if sales of one article are 40 on Friday?"). All paths have the known values, and
the others are sampled given these: exactly for `linear-gaussian`, elsewhere by 1024 weighted paths
or, where fewer than 100 of these count, by up to 16384. A warning says where that is not enough.
Mixtures, and flows that are conditioned on latents, cannot be given values.

`aggregate` sums paths over series, of all (`"total"`) or of groups, at several levels at once: the
children's paths sum to the parent's. The model takes series as independent given their own pasts,
so that intervals of sums over series are too narrow where series move together. Channels of one
series and steps of one path are joint: put series that move together into one table of channels.

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
they are those of the guide, or for `linear-gaussian` those of p(z_t | x_{1:T}) by the smoother. Of
`latent` they are those of p(z_{t+1} | x_{1:t}), the latents of the next step given the values up to
this one: all that the model knows of later values is in these, and may not be in z_t alone, which
`posterior="guide"` gives. With `posterior="filtering"` they are those of p(z_t | x_{1:t}), and with
`"smoothing"` those of p(z_{1:T} | x_{1:T}): exact for `linear-gaussian`, elsewhere by weighted
samples of the guide. A warning says where the effective number of samples is small. The latents of
`flow` are exact, and `decode` is the inverse.

Of `switching` it gives the probability of each regime and the most probable path of regimes, given
the whole sequence, or with `posterior=filtering` the values so far.

`inspect` shows how `latent` and its presets use their latents: which of them carry state, which
hold what is new at a step, and which are not used, by what it costs at several horizons to replace
their values; the KL between guide and prior, by latent and by step; how far the guide is from the
posterior, by KL(q(z | x) || p(z | x)) on the data and KL(p(z | x) || q(z | x)) on sequences sampled
from the model; and how well p(x_t | history, z_t) reconstructs the values, which `reconstruct`
gives as a frame.

Reconstruction
--------------
`autoencoder` has no likelihood. What can be measured is the error of its reconstruction:
`reconstruct` puts every value beside what is decoded from the code of the window around it, in the
units of the data, and large errors tell unusual steps. A missing value is reconstructed from the
others of its window, and has no error. `encode` gives the codes, one of every step's window, and
`decode` leads from codes to values, with the same errors: it is no inverse.

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

from seqlatent.tasks.alarms import Calibration
from seqlatent.tasks.decoding import decode
from seqlatent.tasks.detecting import Detection, calibrate, detect
from seqlatent.tasks.encoding import Latents, encode
from seqlatent.tasks.evaluating import evaluate
from seqlatent.tasks.evaluation import Evaluation
from seqlatent.tasks.forecasting import Forecast, forecast, sample
from seqlatent.tasks.imputing import Imputation, impute
from seqlatent.tasks.inspecting import inspect
from seqlatent.tasks.inspection import Inspection
from seqlatent.tasks.reconstructing import Reconstruction, reconstruct, reconstruct_codes
from seqlatent.tasks.regimes import FoundRegimes
from seqlatent.tasks.scoring import score
from seqlatent.tasks.single_stream import Stream
from seqlatent.tasks.streamed import Streamed, StreamedRows
from seqlatent.tasks.streaming import Streams
from seqlatent.tasks.watching import Detector, Watched

__all__ = [
    "Calibration",
    "Detection",
    "Detector",
    "Evaluation",
    "Forecast",
    "FoundRegimes",
    "Imputation",
    "Inspection",
    "Latents",
    "Reconstruction",
    "Stream",
    "Streamed",
    "StreamedRows",
    "Streams",
    "Watched",
    "calibrate",
    "decode",
    "detect",
    "encode",
    "evaluate",
    "forecast",
    "impute",
    "inspect",
    "reconstruct",
    "reconstruct_codes",
    "sample",
    "score",
]
