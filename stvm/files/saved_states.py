"""A saved state and the labels beside it, which are removed together."""

import shutil
from pathlib import Path


def labels_beside(state: Path) -> Path:
    """Folder of the labels of offline passes, beside the file of a training's state."""
    return state.with_suffix(".labels")


def drop_state(state: Path) -> None:
    """Remove the state of a training and its labels, if they are there."""
    state.unlink(missing_ok=True)
    shutil.rmtree(labels_beside(state), ignore_errors=True)
