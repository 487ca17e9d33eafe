"""Arrays in .npy files, mapped into memory; loading processes receive their path only."""

from pathlib import Path
from typing import Any

import numpy as np

from stvm.data.image_files import Uint8Array
from stvm.files import unreadable


class MappedArray:
    """A memory-mapped array (N, ...); an item is returned as a copy.

    A loading process receives the path, not the content.

    Args:
        path: Path of a .npy file.

    Raises:
        StvmError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._array = map_array(path)

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: int) -> Uint8Array:
        return np.array(self._array[index])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        return self._array.shape

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedArray, (self._path,)


def map_array(path: Path) -> Uint8Array:
    """Maps a .npy file into memory.

    Raises:
        StvmError: The file cannot be read.
    """
    try:
        array: Uint8Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise unreadable(path, error, f"delete {path.parent} and run again") from None
    return array
