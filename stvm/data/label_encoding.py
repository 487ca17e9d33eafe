"""Finds labels with a wrong numbering of the classes, from the ids of a whole split.

Every label may be readable and every id known, and still every class may be wrong. The most common
mistake is train ids (0 to 18, 255 ignored) in place of label ids (7 is road), or the reverse.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stvm.data.classes import IGNORE_INDEX, ClassList
from stvm.data.published.label_ids import LabelIds

Counts = NDArray[np.int64]
"""Pixels of each id in a whole split, (256,)."""

LAST_TRAIN_ID = 18
MANY_IDS = 8
"""Number of ids up to 18 that makes train ids certain; a tiny split may hold fewer."""


@dataclass(frozen=True)
class Slip:
    """A likely mistake in the labels of a split.

    Attributes:
        text: Appearance of the labels and the remedy, for a message.
        certain: True if the labels cannot be right.
    """

    text: str
    certain: bool


def published_slip(counts: Counts, ids: LabelIds) -> Slip | None:
    """A likely mistake in labels of a published data set; None if there is none.

    Args:
        counts: Pixels of each stored id.
        ids: Ids that the data set uses.
    """
    present = _present(counts)
    known = [i for i in present if i in ids.train_ids]
    if not known:
        return Slip(
            f"no label holds the id of a class ({_found(counts)}): all would be ignored; take the "
            "files as they were published",
            certain=True,
        )
    if present[-1] <= LAST_TRAIN_ID < ids.last:
        road = next(i for i, train_id in ids.train_ids.items() if train_id == 0)
        is_theirs = counts[IGNORE_INDEX] > 0 or counts[0] > counts[road]
        return Slip(
            f"no label holds an id above {LAST_TRAIN_ID}: they look like train ids (0 is road), "
            f"not like ids of {ids.whose} ({road} is road), and every class would be wrong; take "
            "the files as they were published",
            certain=is_theirs and len(present) >= MANY_IDS,
        )
    return _one_class(known, f"id {known[0]}")


def own_slip(counts: Counts, classes: ClassList) -> Slip | None:
    """A likely mistake in labels whose ids are all in the class list or ignored."""
    table = classes.table()
    present = [i for i in _present(counts) if table[i] != IGNORE_INDEX]
    if not present:
        return Slip(
            f"all pixels are labelled {IGNORE_INDEX}, which means ignored; label some", certain=True
        )
    if len(classes) == 1:
        return None
    if len(classes) == 2 and present == [0] and counts[IGNORE_INDEX]:
        return Slip(
            f"the labels hold 0 and {IGNORE_INDEX} alone, and {IGNORE_INDEX} means ignored: if "
            f"they are masks, save {IGNORE_INDEX} as {max(classes.ids)}; if not, "
            "give only this one class in classes",
            certain=True,
        )
    found = sorted({int(table[i]) for i in present})
    return _one_class(found, repr(classes.names[found[0]]))


def look_alike(present: Collection[int], classes: ClassList) -> str:
    """A guess about a label with ids outside the class list; empty if there is no good guess.

    Args:
        present: Ids that the label holds.
        classes: Class list that lacks some of them.
    """
    ids = sorted(set(present) - {IGNORE_INDEX})
    count = len(classes)
    numbered = classes.ids == tuple(range(count)) and not classes.others
    if len(ids) > 64:
        return "; so many ids are those of a picture, or of a label that was resized smoothly"
    if numbered and ids[0] == 1 and ids[-1] == count:
        return f"; they look as if they began at 1: write classes=1:{classes.names[0]},..."
    if numbered and count <= 19 and 7 in ids and LAST_TRAIN_ID < ids[-1] <= 34:
        return "; they look like Cityscapes' label ids: write classes=7:road,8:sidewalk,..."
    if max(classes.ids) > LAST_TRAIN_ID and ids[-1] <= LAST_TRAIN_ID:
        return "; they look like train ids: write classes=road,sidewalk,... in that order"
    return ""


def _present(counts: Counts) -> list[int]:
    return [int(i) for i in np.flatnonzero(counts) if i != IGNORE_INDEX]


def _found(counts: Counts) -> str:
    found = [str(i) for i in np.flatnonzero(counts)]
    return f"found: {', '.join(found[:8])}{', ...' if len(found) > 8 else ''}"


def _one_class(known: list[int], name: str) -> Slip | None:
    if len(known) > 1:
        return None
    return Slip(f"every labelled pixel is of one class, {name}: look at the labels", certain=False)
