"""The published data sets in the folders and names their authors give them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stvm.data.published.label_ids import (
    CITYSCAPES_IDS,
    CROSS_CITY_IDS,
    GTA5_IDS,
    SYNTHIA_IDS,
    LabelIds,
)

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class DatasetLayout:
    """A data set in its authors' folders.

    Attributes:
        name: of its folder in the cache.
        title: for people.
        expected: folders and names, for people.
        images: folder of a split's images; {split}, {Split} and {City} are filled in.
        labels: the same for labels.
        image_endings: an image's name is its stem and one of these.
        label_ending: a label's name is the stem of its image and this.
        towns: images lie in a folder for each town below that folder.
        counts: images that each split has.
        labelled: splits whose labels are public.
        ids: what the values in label files mean.
        sixteen_bits: labels are the first of three channels of 16 bits.
        split_file: file beside the folders that says which images a split has.
        count_without: images where that file is absent, all for training.
    """

    name: str
    title: str
    expected: str
    images: str
    labels: str
    image_endings: tuple[str, ...]
    label_ending: str
    towns: bool
    counts: Mapping[Split, int]
    labelled: tuple[Split, ...]
    ids: LabelIds
    sixteen_bits: bool = False
    split_file: str = ""
    count_without: int = 0


GTA5 = DatasetLayout(
    name="gta5",
    title="GTA5",
    expected="images/00001.png and labels/00001.png, and so on",
    images="images",
    labels="labels",
    image_endings=(".png",),
    label_ending=".png",
    towns=False,
    counts={"train": 12403, "val": 6382, "test": 6181},
    labelled=("train", "val", "test"),
    ids=GTA5_IDS,
    split_file="split.mat",
    count_without=24966,
)
SYNTHIA = DatasetLayout(
    name="synthia",
    title="SYNTHIA-RAND-CITYSCAPES",
    expected="RGB/0000000.png and GT/LABELS/0000000.png, and so on",
    images="RGB",
    labels="GT/LABELS",
    image_endings=(".png",),
    label_ending=".png",
    towns=False,
    counts={"train": 9400},
    labelled=("train",),
    ids=SYNTHIA_IDS,
    sixteen_bits=True,
)
CITYSCAPES = DatasetLayout(
    name="cityscapes",
    title="Cityscapes",
    expected=(
        "leftImg8bit/train/TOWN/*_leftImg8bit.png"
        " and gtFine/train/TOWN/*_gtFine_labelIds.png, and the same for val"
    ),
    images="leftImg8bit/{split}",
    labels="gtFine/{split}",
    image_endings=("_leftImg8bit.png",),
    label_ending="_gtFine_labelIds.png",
    towns=True,
    counts={"train": 2975, "val": 500},
    labelled=("train", "val"),
    ids=CITYSCAPES_IDS,
)
CROSS_CITY = DatasetLayout(
    name="crosscity",
    title="NTHU Cross-City",
    expected="CITY/Images/Train/*.jpg, CITY/Images/Test/*.png and CITY/Labels/Test/*_eval.png",
    images="{City}/Images/{Split}",
    labels="{City}/Labels/{Split}",
    image_endings=(".jpg", ".png"),
    label_ending="_eval.png",
    towns=False,
    counts={"train": 3200, "test": 100},
    labelled=("test",),
    ids=CROSS_CITY_IDS,
)
LAYOUTS = {layout.name: layout for layout in (GTA5, SYNTHIA, CITYSCAPES, CROSS_CITY)}
