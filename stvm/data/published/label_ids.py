"""Label ids of Cityscapes, GTA5, SYNTHIA and Cross-City, and the classes they stand for.

A *train id* is the number of a class among Cityscapes' 19. Benchmarks with fewer classes keep the
same order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stvm.data.classes import IGNORE_INDEX
from stvm.data.image_files import Uint8Array
from stvm.errors import StvmError

ALL_19 = tuple(range(19))
SHARED_16 = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18)
"""Train ids of SYNTHIA's benchmark: all except terrain, truck and train."""
SHARED_13 = (0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18)
"""Train ids of Cross-City's benchmark: those of SYNTHIA's except wall, fence and pole."""


@dataclass(frozen=True)
class LabelIds:
    """The ids of a data set's label files.

    Attributes:
        whose: Name of the data set, for messages.
        train_ids: Train id of each label id that stands for one of Cityscapes' 19 classes.
        last: Largest id; pixels of 255 are ignored.
    """

    whose: str
    train_ids: Mapping[int, int]
    last: int

    def table(self, classes: Sequence[int]) -> Uint8Array:
        """Class of each label id, (256,): the place of its train id in `classes`, else 255."""
        table = np.full(256, IGNORE_INDEX, np.uint8)
        for label_id, train_id in self.train_ids.items():
            if train_id in classes:
                table[label_id] = classes.index(train_id)
        return table

    def checked(self, path: Path, ids: NDArray[np.unsignedinteger]) -> Uint8Array:
        """Ids of a file as 8-bit values.

        Raises:
            StvmError: Ids that the data set does not have; the message names the file.
        """
        found = np.flatnonzero(np.bincount(ids.ravel(), minlength=IGNORE_INDEX + 1))
        strange = [int(i) for i in found if i > self.last and i != IGNORE_INDEX]
        if strange:
            more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
            raise StvmError(
                f"{path}: holds {', '.join(map(str, strange[:5]))}{more}, which are not ids of "
                f"{self.whose} (0 to {self.last}, {IGNORE_INDEX} ignored); take the file as it was "
                "published"
            )
        return ids.astype(np.uint8)


_CITYSCAPES = {
    **{7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9},
    **{23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18},
}
"""Train id of each id, as in `cityscapesscripts.helpers.labels`; files hold no -1."""

CITYSCAPES_IDS = LabelIds("Cityscapes", _CITYSCAPES, 33)
CROSS_CITY_IDS = LabelIds("Cityscapes, which Cross-City uses", _CITYSCAPES, 33)
GTA5_IDS = LabelIds("GTA5", _CITYSCAPES, 34)
"""GTA5 has the ids of Cityscapes and 34, a licence plate."""
SYNTHIA_IDS = LabelIds(
    "SYNTHIA",
    {
        **{3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9},
        **{1: 10, 10: 11, 17: 12, 8: 13, 18: 14, 19: 15, 20: 16, 12: 17, 11: 18},
    },
    22,
)
"""The mapping that published code uses; parking slot, road works and lane marking are ignored."""
