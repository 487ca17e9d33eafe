"""Files of weights, read without running what they hold."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stvm.errors import StvmError

# Scores beside the weights are numpy's; old and new numpy name their constructor differently.
_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "?")},
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
]
_BROKEN = (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile)


def read_file(path: Path) -> tuple[Any, dict[str, str]]:
    """What a file holds, and its metadata: safetensors have some, files of `torch.save` none.

    Raises:
        StvmError: missing, empty, cut off, or holding what is neither tensors nor plain values.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(9)
        if start[8:] == b"{":
            return _read_safetensors(path)
        # Given a name, torch would look at its ending.
        with open(path, "rb") as file, torch.serialization.safe_globals(_HARMLESS):
            return torch.load(file, map_location="cpu", weights_only=True), {}
    except FileNotFoundError:
        raise StvmError(f"no checkpoint {path}: give the path of an existing file") from None
    except pickle.UnpicklingError:
        # torch's own message advises to switch the protection off.
        raise StvmError(
            f"checkpoint {path} holds more than tensors, or is none; code in it was not run: "
            "save network.state_dict() alone with torch.save"
        ) from None
    except (*_BROKEN, SafetensorError) as error:
        reason = (str(error).splitlines() or ["empty or cut off"])[0]
        raise StvmError(f"cannot read checkpoint {path}: {reason}; copy the file again") from None


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt", device="cpu") as file:
        names = list(file.keys())  # noqa: SIM118 - no mapping, and not to be iterated over
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
