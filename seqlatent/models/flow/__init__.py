"""The conditional flow: exact likelihood by invertible maps."""
