"""Arrays of decoded images on disk: how they are named, and how they are read.

    CACHE/<data set>/<split>-<images or labels>-<width>x<height>-<digest>/array.npy, index.json

The digest is that of names and sizes of the originals, which the index lists: from other originals
another folder is made. The index is written last; what has none is not read. `cache_writer` beside
this module writes these folders.
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
    """The array of one split's images or labels at one size, which may not be there yet.

    Attributes:
        cache: folder of all of them.
        part: the split.
        kind: what is kept; labels as the data set's own ids.
        size: height and width.
        images: image files, one for each item.
    """

    cache: Path
    part: DatasetSplit
    kind: Kind
    size: Size
    images: Sequence[Path]

    @cached_property
    def files(self) -> list[tuple[str, int]]:
        """Name and size of each original.

        Raises:
            StvmError: a label is missing.
        """
        kept = self.images if self.kind == "images" else self.part.labels(self.images)
        return self.part.listing(kept)

    @cached_property
    def folder(self) -> Path:
        """Where the array is or will be."""
        return self.cache / self.part.layout.name / f"{self._stem()}-{self._digest}"

    @cached_property
    def _digest(self) -> str:
        lines = "".join(f"{name} {size}\n" for name, size in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()[:12]

    @property
    def array_path(self) -> Path:
        """The array's file."""
        return self.folder / "array.npy"

    @property
    def index_path(self) -> Path:
        """The file whose presence says that the array is whole."""
        return self.folder / "index.json"

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, 3) or (N, H, W)."""
        return (len(self.images), *self.size, *((3,) if self.kind == "images" else ()))

    @property
    def nbytes(self) -> int:
        """Of the whole array."""
        return prod(self.shape)

    def is_whole(self) -> bool:
        """All items are there."""
        return self.index_path.is_file()

    def was_read(self) -> bool:
        """All of these originals were decoded once, at this size or another."""
        others = f"{self._begin()}-*x*-{self._digest}/index.json"
        return any((self.cache / self.part.layout.name).glob(others))

    def open(self) -> MappedArray | None:
        """The array; None where it is not there, not whole, or made from other originals.

        Raises:
            StvmError: it cannot be read.
        """
        # The sizes of all originals are looked up only where something might come of it.
        if not any((self.cache / self.part.layout.name).glob(f"{self._stem()}-*/index.json")):
            return None
        if not self.is_whole():
            return None
        array = MappedArray(self.array_path)
        if array.shape != self.shape:
            raise StvmError(f"{self.array_path}: has another shape; delete {self.folder}")
        return array

    def _stem(self) -> str:
        return f"{self._begin()}-{self.size[1]}x{self.size[0]}"

    def _begin(self) -> str:
        city = f"{self.part.city}-" if self.part.city else ""
        return f"{city}{self.part.split}-{self.kind}"
