"""Simulated processes whose log-likelihood is known: the truth that models are measured against."""
