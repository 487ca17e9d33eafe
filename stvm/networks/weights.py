"""Loading of weights into a network: all of them or none."""

import math
from collections.abc import Mapping

from torch import Tensor, nn

from stvm.errors import StvmError


def faults(own: Mapping[str, Tensor], state: Mapping[str, Tensor], prefix: str = "") -> str:
    """Text on missing and unexpected keys and other shapes, with the first names; empty if none.

    Args:
        own: State dict of the network.
        state: State dict to be loaded.
        prefix: Text before each name in the message.
    """
    reshaped = [
        f"{k} {tuple(state[k].shape)} for {tuple(own[k].shape)}"
        for k in sorted(own.keys() & state.keys())
        if state[k].shape != own[k].shape
    ]
    return "; ".join(
        f"{len(keys)} {what} ({', '.join(prefix + key for key in keys[:3])}"
        f"{', ...' if len(keys) > 3 else ''})"
        for what, keys in (
            ("missing", sorted(own.keys() - state.keys())),
            ("unexpected", sorted(state.keys() - own.keys())),
            ("of another shape", reshaped),
        )
        if keys
    )


def load_weights(network: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Load `state` into `network`; nothing is loaded if a key or shape does not fit.

    Args:
        network: Network that gets the weights.
        state: State dict with the network's keys.
        origin: Name of the file, for the message.

    Raises:
        StvmError: Keys are missing, unexpected or of another shape; the message lists the first.
    """
    wrong = faults(network.state_dict(), state)
    if wrong:
        raise StvmError(
            f"checkpoint {origin} does not fit the network: keys {wrong}; "
            "use the network, channels and classes it was trained with"
        )
    network.load_state_dict(state)


def count_parameters(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(math.prod(p.shape) for p in module.parameters() if p.requires_grad)
