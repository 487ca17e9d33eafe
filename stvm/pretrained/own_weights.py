"""A plain state dict for a network of the user's own, with the keys of F and C."""

from pathlib import Path

from stvm.errors import StvmError
from stvm.networks import Architecture
from stvm.pretrained.nested_state import find_state
from stvm.pretrained.unwrapping import UnwrappedCheckpoint
from stvm.pretrained.weight_files import read_file

_FEATURES, _INNER = "features.", "features.module."
_PARTS = (_FEATURES, "classifier.")


def open_own_weights(path: Path, default: Architecture) -> UnwrappedCheckpoint | None:
    """The file, if it does not describe its network; None if it does.

    Args:
        path: Path of the file.
        default: The user's network and the number of its classes.

    Raises:
        StvmError: The file is unreadable, or its keys are not those of a features and a classifier.
    """
    content, metadata = read_file(path)
    if "network" in metadata:
        return None
    state, remarks = find_state(content, path)
    wrapped = "module." if all(key.startswith("module.") for key in state) else ""
    plain = {key.removeprefix(wrapped): value for key, value in state.items()}
    odd = [key for key in plain if not key.startswith(_PARTS)]
    if odd or not default.num_classes:
        why = f"has the key {odd[0]}" if odd else "does not tell its classes"
        raise StvmError(
            f"checkpoint {path} {why}: for {default.network} give a file that this project wrote, "
            "or to a study a state dict whose keys begin with features. and classifier."
        )
    inner = {key: key.removeprefix(_FEATURES) for key in plain if not key.startswith(_INNER)}
    named = {
        _INNER + inner[key] if key.startswith(_FEATURES) and key in inner else key: value
        for key, value in plain.items()
    }
    return UnwrappedCheckpoint(path, named, "stvm", wrapped, frozenset(), metadata, (), remarks)
