"""The cache of decoded images: the names of its arrays, and their reading.

    CACHE/<data set>/<split>-<images or labels>-<width>x<height>-<digest>/array.npy, index.json

The digest is that of names and sizes of the original files, which index.json lists; other original
files give another folder. The index is written last: a folder without index is not read. The
module `cache_writer` writes these folders.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Literal

from stvm.data.array_files import MappedArray
from stvm.data.published.decode import Size
from stvm.data.published.splits import DatasetSplit
from stvm.errors import StvmError

Kind = Literal["images", "labels"]


@dataclass(frozen=True)
class DecodedArray:
    """The array of one split's images or labels at one size; it may not exist yet.

    Attributes:
        cache: Folder of all arrays.
        part: Split of the data set.
        kind: Kind of the items; labels are kept as the data set's own ids.
        size: Height and width.
        images: Image files, one for each item.
    """

    cache: Path
    part: DatasetSplit
    kind: Kind
    size: Size
    images: Sequence[Path]

    @cached_property
    def files(self) -> list[tuple[str, int]]:
        """Name and size of each original file.

        Raises:
            StvmError: A label is missing.
        """
        kept = self.images if self.kind == "images" else self.part.labels(self.images)
        return self.part.listing(kept)

    @cached_property
    def folder(self) -> Path:
        """Folder of the array, which may not exist yet."""
        return self.cache / self.part.layout.name / f"{self._stem()}-{self._digest}"

    @cached_property
    def _digest(self) -> str:
        lines = "".join(f"{name} {size}\n" for name, size in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()[:12]

    @property
    def array_path(self) -> Path:
        """File of the array."""
        return self.folder / "array.npy"

    @property
    def index_path(self) -> Path:
        """File whose presence means that the array is complete."""
        return self.folder / "index.json"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array, (N, H, W, 3) or (N, H, W)."""
        return (len(self.images), *self.size, *((3,) if self.kind == "images" else ()))

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return prod(self.shape)

    def is_whole(self) -> bool:
        """True if the array is complete."""
        return self.index_path.is_file()

    def was_read(self) -> bool:
        """True if these original files were all decoded before, at any size."""
        others = f"{self._begin()}-*x*-{self._digest}/index.json"
        return any((self.cache / self.part.layout.name).glob(others))

    def open(self) -> MappedArray | None:
        """The array; None if it is missing, not complete, or made from other original files.

        Raises:
            StvmError: The array cannot be read.
        """
        # Looking up the sizes of all originals takes time, so it waits until an array may exist.
        if not any((self.cache / self.part.layout.name).glob(f"{self._stem()}-*/index.json")):
            return None
        if not self.is_whole():
            return None
        array = MappedArray(self.array_path)
        if array.shape != self.shape:
            raise StvmError(f"{self.array_path}: has the wrong shape; delete {self.folder}")
        return array

    def _stem(self) -> str:
        return f"{self._begin()}-{self.size[1]}x{self.size[0]}"

    def _begin(self) -> str:
        city = f"{self.part.city}-" if self.part.city else ""
        return f"{city}{self.part.split}-{self.kind}"
