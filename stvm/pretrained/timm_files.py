"""timm's files of weights, from which source training starts."""

from pathlib import Path

from torch import Tensor

from stvm.errors import StvmError
from stvm.networks import SegmentationNetwork
from stvm.networks.timm_networks import keys_of
from stvm.networks.weights import faults
from stvm.pretrained.fitting import refuse_non_finite
from stvm.pretrained.nested_state import find_state
from stvm.pretrained.weight_files import read_file


def load_timm(path: Path, network: SegmentationNetwork) -> None:
    """Load a file with timm's keys into F of `network=timm:NAME`, all of F or nothing.

    The file may hold what timm's whole network has beside F, such as its last classifier.

    Raises:
        StvmError: The file is unreadable, lacks a weight of F, or holds weights of another network.
    """
    name = network.architecture.network.removeprefix("timm:")
    state, _ = find_state(read_file(path)[0], path)
    whole = set(keys_of(name))
    own = network.features.state_dict()
    theirs = {key: _public(key, whole) for key in own}
    kept = {key: state[public] for key, public in theirs.items() if public in state}
    beside = {key: value for key, value in state.items() if key not in whole}
    wrong = faults(
        {theirs[key]: value for key, value in own.items()}, _named(kept, theirs) | beside
    )
    if wrong:
        raise StvmError(f"source_init={path} does not fit timm:{name}: keys {wrong}")
    refuse_non_finite(path, kept)
    network.features.load_state_dict(kept)


def _named(state: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    return {names[key]: value for key, value in state.items()}


def _public(own: str, whole: set[str]) -> str:
    """timm's key for a key of F: timm flattens a sequence, stages.0 becomes stages_0."""
    key = own.removeprefix("net.").removeprefix("model.")
    if key in whole:
        return key
    first, _, rest = key.partition(".")
    parts = first.split("_")
    for cut in range(1, len(parts)):
        candidate = f"{'_'.join(parts[:cut])}.{'_'.join(parts[cut:])}.{rest}"
        if candidate in whole:
            return candidate
    return key
