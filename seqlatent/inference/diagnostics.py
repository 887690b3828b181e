"""Diagnostics of a fitted model: whether its latents are used."""

UNUSED = 0.02  # KL in nats per step, below which latents carry hardly any information


def collapse_warning(kl: float) -> str:
    """A warning about latents with this KL, in nats per step; empty if they are used."""
    if kl >= UNUSED:
        return ""
    return (
        f"the latents are unused (the KL is {kl:.4f} nats per step): the emission alone explains "
        "the data; emission=normal would leave more to them"
    )
