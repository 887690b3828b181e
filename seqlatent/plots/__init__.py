"""Pictures, drawn from data sets, frames and arrays."""
