"""What each latent does, and one sentence about all of them.

A latent is used if replacing it costs at least 0.001 nats per step, and more than two standard
errors, at some horizon. It is felt ahead if it does so at a horizon h > 0. It is predictable if the
prior's mean explains at least a quarter of the variance of the guide's mean (0.25 is an AR(1) of
slope 0.5).

    state        predictable, and felt ahead: it carries over
    innovation   new at each step; it may be felt ahead, as a shock is that a state takes up
    derived      predictable, and shown not to be felt ahead: it follows from the past and tells no
                 more
    used         predictable, and too few data to tell whether it is felt ahead
    unused       shown not to be used: it is not felt, and its loss at every horizon is two standard
                 errors below 0.01 nats per step
    unclear      not felt, and too few data to tell that it is not used

Where sequences are too short to look ahead, all that are used are only `used`.
"""

import numpy as np

from seqlatent.models.latent.diagnostics import is_felt, is_idle
from seqlatent.models.latent.replacing import Losses
from seqlatent.text import counted

PREDICTABLE = 0.25


def memories(losses: Losses) -> np.ndarray:
    """(Z,) the furthest horizon at which each latent is felt, in steps; -1 if at none."""
    felt = is_felt(losses.each, losses.each_error)
    return np.where(felt, np.array(losses.horizons), -1).max(1)


def roles(losses: Losses, predictable: np.ndarray) -> list[str]:
    """What each latent is: state, innovation, derived, used, unused or unclear."""
    found = []
    for k, (memory, share) in enumerate(zip(memories(losses), predictable, strict=True)):
        if memory < 0:
            idle = is_idle(losses.each[k], losses.each_error[k])
            found.append("unused" if idle else "unclear")
        elif losses.horizons == (0,):
            found.append("used")
        elif share < PREDICTABLE:
            found.append("innovation")
        elif memory > 0:
            found.append("state")
        else:
            idle = is_idle(losses.each[k, 1:], losses.each_error[k, 1:])
            found.append("derived" if idle else "used")
    return found


def is_used(what: np.ndarray) -> np.ndarray:
    """(Z,) bool, which roles are those of used latents."""
    return (what != "unused") & (what != "unclear")


def headline(losses: Losses, predictable: np.ndarray) -> str:
    """One sentence about all latents."""
    what, memory = np.array(roles(losses, predictable)), memories(losses)
    size, used = len(what), int(is_used(what).sum())
    if not used:
        return _unused(losses)
    verb = "is" if used == 1 else "are"
    start = f"{used} of {counted(size, 'latent')} {verb} used"
    if unclear := int((what == "unclear").sum()):
        start += f" (for {unclear} more the data are too few to tell)"
    if losses.horizons == (0,):
        return f"{start}; the sequences are too short to tell what lasts"
    furthest = losses.horizons[-1]
    parts = []
    if (state := what == "state").any():
        text = (
            f"{_carry(state, 'carries', 'carry')} state ({_percent(predictable[state])} predictable"
        )
        parts.append(f"{text} from the past, felt {_ahead(memory[state].max(), furthest)})")
    if (lasting := (what == "innovation") & (memory > 0)).any():
        text = f"{_carry(lasting, 'holds', 'hold')} what is new at a step and is felt "
        parts.append(f"{text}{_ahead(memory[lasting].max(), furthest)}")
    if (new := (what == "innovation") & (memory == 0)).any():
        parts.append(f"{_carry(new, 'holds', 'hold')} what is new at a step")
    if (derived := what == "derived").any():
        text = _carry(derived, "follows", "follow")
        parts.append(
            f"{text} from the past and {'is' if derived.sum() == 1 else 'are'} felt at once only"
        )
    if (other := what == "used").any():
        text = f"{_carry(other, 'is', 'are')} predictable from the past, with too few data to tell"
        parts.append(f"{text} whether that matters at later steps")
    return f"{start}: {', '.join(parts)}"


def _unused(losses: Losses) -> str:
    joint = is_felt(losses.joint, losses.joint_error)
    if joint.any():
        together = f"the latents are used together ({losses.joint[joint].max():.3f} nats per step)"
        if is_idle(losses.each, losses.each_error):
            return f"{together}; without any one of them the others predict as well"
        return f"{together}; which of them, cannot be told from so few data"
    if is_idle(losses.joint, losses.joint_error):
        return "the latents are not used: the emission alone predicts x as well"
    return "whether the latents are used cannot be told from so few data"


def _carry(chosen: np.ndarray, one: str, many: str) -> str:
    number = int(chosen.sum())
    return f"{number} {one if number == 1 else many}"


def _percent(shares: np.ndarray) -> str:
    low, high = (f"{100 * share:.0f}" for share in (shares.min(), shares.max()))
    return f"{low} %" if low == high else f"{low} to {high} %"


def _ahead(memory: int, furthest: int) -> str:
    steps = f"{counted(int(memory), 'step')} ahead"
    return f"{steps} or more" if memory == furthest else f"up to {steps}"
