"""Loading and saving of weights under public names; all are loaded or none."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from stvm.errors import StvmError
from stvm.networks import SegmentationNetwork, find_network
from stvm.networks.weights import faults
from stvm.pretrained.families import LAYOUTS, KeyLayout, public_name
from stvm.pretrained.unknown_networks import resnet_of
from stvm.pretrained.unwrapping import UnwrappedCheckpoint

_COUNTER = "num_batches_tracked"


def public_names(network: SegmentationNetwork, layout: KeyLayout) -> dict[str, str]:
    """The network's key for each key of the layout; no two are alike."""
    torchvision = find_network(network.architecture.network).family == "torchvision"
    return {public_name(own, layout, torchvision): own for own in network.state_dict()}


def fit(network: SegmentationNetwork, found: UnwrappedCheckpoint, family: str) -> None:
    """Load the weights of a file into a network.

    Not every file holds the number of batches that a batch norm has seen. Nothing depends on it
    here, and it is 0 if it is missing.

    Args:
        network: Network that gets the weights.
        found: State dict of the file.
        family: Name of the family, for the message.

    Raises:
        StvmError: Keys are missing, unexpected or of another shape, or weights are not finite.
    """
    names = public_names(network, LAYOUTS[found.layout])
    own = network.state_dict()
    state = dict(found.state)
    for name, key in names.items():
        if name.endswith(_COUNTER):
            state.setdefault(name, torch.zeros_like(own[key]))
    wrong = faults({name: own[key] for name, key in names.items()}, state, found.prefix)
    if found.unexpected_keys:
        wrong = "; ".join(
            [wrong] * bool(wrong) + [f"unexpected ({', '.join(found.unexpected_keys[:3])})"]
        )
    if wrong:
        theirs, ours = resnet_of(state), resnet_of(names)
        whose = f", which has {ours} where the file has {theirs}" if theirs != ours else ""
        raise StvmError(
            f"checkpoint {found.path}, read as one of {family}, does not fit "
            f"{network.architecture.network}{whose if theirs and ours else ''}: keys {wrong}; "
            "use a whole checkpoint of this network"
        )
    refuse_non_finite(found.path, found.state, found.prefix)
    network.load_state_dict({key: state[name] for name, key in names.items()})


def refuse_non_finite(path: Path, state: Mapping[str, Tensor], prefix: str = "") -> None:
    """Raise StvmError for the first tensor with a value that is not finite."""
    for key, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise StvmError(
                f"checkpoint {path}: {prefix}{key} holds values that are not finite: "
                "its training diverged; use another"
            )


def public_state(network: SegmentationNetwork, layout: KeyLayout) -> dict[str, Tensor]:
    """State dict of the network with the keys of a layout, on the CPU."""
    state = network.state_dict()
    return {
        name: state[own].detach().cpu().contiguous()
        for name, own in public_names(network, layout).items()
    }
