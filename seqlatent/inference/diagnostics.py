"""What estimates say about a model: whether its latents are used."""

UNUSED = 0.02  # nats per step, under which latents say next to nothing


def collapse_warning(kl: float) -> str:
    """What to say of latents with so many nats per step; nothing where they are used."""
    if kl >= UNUSED:
        return ""
    return (
        f"the latents are unused (the KL is {kl:.4f} nats per step): the emission alone explains "
        "the data; emission=normal would leave more to them"
    )
