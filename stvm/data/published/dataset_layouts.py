"""Folders and file names of the published data sets, as their authors provide them."""

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
    """Folders, names and label ids of one published data set.

    Attributes:
        name: Name of the data set's folder in the cache.
        title: Name of the data set, for messages.
        expected: Folders and file names, for messages.
        images: Folder of a split's images; {split}, {Split} and {City} are filled in.
        labels: Folder of a split's labels, with the same placeholders.
        image_endings: Endings of image names; the rest of a name is its stem.
        label_ending: Ending of label names, after the stem of the image.
        towns: True if the images of each town are in a folder of their own.
        counts: Number of images in each split.
        labelled: Splits with public labels.
        ids: Meaning of the values in label files.
        sixteen_bits: True if labels are the first of three 16-bit channels.
        split_file: File beside the folders that lists the images of each split; empty for none.
        count_without: Number of images if that file is missing; all are then for training.
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
