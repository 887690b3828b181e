"""Distributions of one step's values, and the heads that make them from features."""
