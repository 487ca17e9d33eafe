"""Weights into a network, all or none."""

import math

from torch import Tensor, nn

from stvm.errors import StvmError


def load_weights(network: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Put `state` into `network`, every key and shape or none.

    Raises:
        StvmError: keys missing, unexpected or of another shape; the message lists the first.
    """
    own = network.state_dict()
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    reshaped = [
        f"{k} {tuple(state[k].shape)} for {tuple(own[k].shape)}"
        for k in sorted(own.keys() & state.keys())
        if state[k].shape != own[k].shape
    ]
    faults = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", reshaped),
        )
        if keys
    ]
    if faults:
        raise StvmError(
            f"checkpoint {origin} does not fit the network: keys {'; '.join(faults)}; "
            "use the network, channels and classes it was trained with"
        )
    network.load_state_dict(state)


def count_parameters(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(math.prod(p.shape) for p in module.parameters() if p.requires_grad)
