"""Causal networks over time, and what stands before them: scaling and layers."""
