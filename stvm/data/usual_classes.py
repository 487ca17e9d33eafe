"""Names of the classes of files that do not name them, known by their number and origin."""

from stvm.data.cityscapes import CITYSCAPES

PASCAL_VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
"""Names of the 21 classes of Pascal VOC, in the order of their ids."""
USUAL = {"Cityscapes": CITYSCAPES, "Pascal VOC": PASCAL_VOC}
"""Names by data set."""
_ON_VOC = ("edgenets", "torchvision")
"""Families of public files whose 21 outputs are Pascal VOC's classes."""


def usual_set(count: int, family: str) -> str:
    """The data set of `USUAL` whose classes a file most likely has; empty for none.

    Args:
        count: Number of the file's classes.
        family: Family of public checkpoints.
    """
    if count == len(PASCAL_VOC) and family in _ON_VOC:
        return "Pascal VOC"
    return "Cityscapes" if count == len(CITYSCAPES) else ""
