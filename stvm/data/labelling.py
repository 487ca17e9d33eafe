"""The meaning of label maps: names and colours of the classes, and the id that counts for none."""

from collections.abc import Sequence
from dataclasses import dataclass

from stvm.data.cityscapes import CITYSCAPES, PALETTE
from stvm.data.classes import IGNORE_INDEX

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""


@dataclass(frozen=True)
class Labelling:
    """The meaning of the values of a label map.

    Attributes:
        class_names: Class names, in the order of the train ids 0, 1, ...
        ignore_index: Value of pixels that belong to no class; they are never counted.
    """

    class_names: tuple[str, ...]
    ignore_index: int = IGNORE_INDEX

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def colours(self) -> list[Colour]:
        """One colour per class, for pictures."""
        return colours_of(self.class_names)


def colours_of(names: Sequence[str]) -> list[Colour]:
    """One colour per class: Cityscapes' colour for a class of Cityscapes, else a fixed one."""
    known = dict(zip(CITYSCAPES, PALETTE, strict=True))
    return [known.get(n, (37 * i % 256, 91 * i % 256, 153 * i % 256)) for i, n in enumerate(names)]
