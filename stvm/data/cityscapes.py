"""The class sets of the field, by Cityscapes' names: 19, SYNTHIA's 16, and the 13 of mIoU*."""

import math
from collections.abc import Mapping, Sequence

CITYSCAPES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
    *("motorcycle", "bicycle"),
)
"""In the order of their train ids."""
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
"""Colours in which Cityscapes' own tools draw the classes, RGB."""
SYNTHIA = tuple(name for name in CITYSCAPES if name not in ("terrain", "truck", "train"))
"""The 16 classes that SYNTHIA-RAND-CITYSCAPES shares with Cityscapes."""
CROSS_CITY = tuple(name for name in SYNTHIA if name not in ("wall", "fence", "pole"))
"""The 13 classes of NTHU Cross-City, which are those of mIoU* too."""

SUBSETS: Mapping[str, tuple[str, ...]] = {"16": SYNTHIA, "13": CROSS_CITY}
"""Classes of the means that stand beside mIoU, by the name of the mean."""


def subset_means(iou: Sequence[float | None], names: Sequence[str]) -> dict[str, float]:
    """Mean IoU over each set of `SUBSETS` that is a part of the classes, from the same IoUs.

    Pixels of the other classes count: one that is predicted as a class of the set is an error of
    that class. A class without IoU is left out.

    Args:
        iou: of each class; None where it does not occur.
        names: of the classes, as many.

    Returns:
        The means by name; empty where the classes hold no such set and more.
    """
    by_name = dict(zip(names, iou, strict=True))
    means = {}
    for key, members in SUBSETS.items():
        if len(members) < len(by_name) and by_name.keys() >= set(members):
            known = [value for name in members if (value := by_name[name]) is not None]
            means[key] = math.fsum(known) / len(known) if known else math.nan
    return means
