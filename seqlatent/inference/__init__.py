"""Likelihoods, posteriors and missing values from any model that declares what it can do.

What a model can do is a protocol of `protocols.py`: an exact density, an estimated one, an exact
posterior, an invertible code, filling of gaps. A model that cannot do something does not have the
method.

    bounds.py        log p(x) from importance weights: ELBO, per step, joint
    smc.py           the same with resampling: sequential Monte Carlo
    likelihood.py    which estimate suits a model, and the noise of each sequence
    posterior.py     the guide's samples, weighted until they follow p(z | x)
    imputation.py    missing values by weighted paths
    noise.py         a stream of random numbers for each sequence, seeded by its name
    diagnostics.py   the warning that latents are unused

The per-step estimate needs a posterior that factorises over time given x, which an independent
prior gives. Its error then grows linearly in T, that of whole trajectories exponentially. Where
latents depend on earlier ones, `smc` is the estimate of choice. All are lower bounds of log p(x) in
expectation.
"""
