"""Files of weights, read without running code that they hold."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stvm.errors import StvmError
from stvm.pretrained.file_kinds import SAFETENSORS, kind_of

# Scores beside the weights are numpy's; old and new numpy name their constructor differently.
_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "?")},
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
]
_CLASS = re.compile(r"(?:GLOBAL |global |class )([A-Za-z_][\w.]*\.\w+)")


def read_file(path: Path) -> tuple[Any, dict[str, str]]:
    """Content of a file, and its metadata; files of `torch.save` have none.

    Raises:
        StvmError: The file is missing, empty, cut off or in another format, or holds objects that
            are neither tensors nor plain values.
    """
    try:
        if kind_of(path) == SAFETENSORS:
            return _read_safetensors(path)
        # Given a name, torch would look at its ending.
        with open(path, "rb") as file, torch.serialization.safe_globals(_HARMLESS):
            return torch.load(file, map_location="cpu", weights_only=True), {}
    except FileNotFoundError:
        raise StvmError(f"no checkpoint {path}: give the path of an existing file") from None
    except pickle.UnpicklingError as error:
        raise StvmError(_not_plain(path, str(error))) from None
    except OSError as error:
        raise StvmError(f"cannot read checkpoint {path}: {error.strerror or error}") from None
    except MemoryError:
        raise StvmError(_no_room(path)) from None
    except SafetensorError as error:
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise StvmError(
            f"cannot read checkpoint {path} as safetensors ({reason}): download or copy it again"
        ) from None
    except StvmError:
        raise
    except Exception as error:  # torch raises whatever a damaged file leads it to
        if isinstance(error, RuntimeError) and "allocate" in str(error):
            raise StvmError(_no_room(path)) from None
        raise StvmError(
            f"cannot read checkpoint {path} ({type(error).__name__}): it is damaged or cut off; "
            "download or copy it again"
        ) from None


def _not_plain(path: Path, told: str) -> str:
    """torch's own message advises to switch the protection off."""
    found = _CLASS.search(told)
    what = f"an object of {found[1]}" if found else "more than tensors"
    return (
        f"checkpoint {path} holds {what}, and not tensors and plain values alone; code in it was "
        "not run: with the code that wrote it save network.state_dict() alone with torch.save"
    )


def _no_room(path: Path) -> str:
    return f"cannot read checkpoint {path}: memory is too short for it"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt", device="cpu") as file:
        names = list(file.keys())  # noqa: SIM118 - no mapping, and not to be iterated over
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
