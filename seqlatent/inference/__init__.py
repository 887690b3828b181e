"""Likelihoods, posteriors and missing values from any model that declares what it can do."""
