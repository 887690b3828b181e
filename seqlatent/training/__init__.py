"""Fitting: options, batches, the loop, checkpoints and messages."""
