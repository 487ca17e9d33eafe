"""Cityscapes' 19 classes with their colours, and the sets of 16 and 13 that papers report."""

import math
from collections.abc import Mapping, Sequence

CITYSCAPES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
    *("motorcycle", "bicycle"),
)
"""Names of the 19 classes, in the order of their train ids."""
PALETTE = (
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (102, 102, 156),
    (190, 153, 153),
    (153, 153, 153),
    (250, 170, 30),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (255, 0, 0),
    (0, 0, 142),
    (0, 0, 70),
    (0, 60, 100),
    (0, 80, 100),
    (0, 0, 230),
    (119, 11, 32),
)
"""RGB colours in which Cityscapes' own tools draw the classes, in the same order."""
SYNTHIA = tuple(name for name in CITYSCAPES if name not in ("terrain", "truck", "train"))
"""The 16 classes that SYNTHIA-RAND-CITYSCAPES shares with Cityscapes."""
CROSS_CITY = tuple(name for name in SYNTHIA if name not in ("wall", "fence", "pole"))
"""The 13 classes of NTHU Cross-City, which are also those of mIoU*."""

SUBSETS: Mapping[str, tuple[str, ...]] = {"16": SYNTHIA, "13": CROSS_CITY}
"""Classes of each mean that is reported beside mIoU, by the name of the mean."""


def subset_means(iou: Sequence[float | None], names: Sequence[str]) -> dict[str, float]:
    """Mean IoU over each set of `SUBSETS` that is a proper subset of the classes.

    The IoUs are those of the full list of classes. So a pixel of another class that is predicted
    as a class of the set still counts as an error of that class. A class without IoU is left out.

    Args:
        iou: IoU of each class; None for a class that does not occur.
        names: Class names, in the same order.

    Returns:
        Means by the name of the set; empty if no set is a proper subset of the classes.
    """
    by_name = dict(zip(names, iou, strict=True))
    means = {}
    for key, members in SUBSETS.items():
        if len(members) < len(by_name) and by_name.keys() >= set(members):
            known = [value for name in members if (value := by_name[name]) is not None]
            means[key] = math.fsum(known) / len(known) if known else math.nan
    return means
