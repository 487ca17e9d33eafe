"""Settings of the data: which images, and how large."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from stvm.settings.class_map import plain_text
from stvm.settings.fields import SettingsGroup, hashed_if_changed

Dataset = Literal[
    "streets", "folder", "gta5_cityscapes", "synthia_cityscapes", "cityscapes_crosscity"
]
City = Literal["", "rome", "rio", "tokyo", "taipei"]

PUBLISHED: tuple[Dataset, ...] = ("gta5_cityscapes", "synthia_cityscapes", "cityscapes_crosscity")
"""Data sets as their authors publish them. Their content is known, so their folders are not part
of a trial's name."""


class DataSettings(SettingsGroup):
    """The images: which ones, and how large."""

    dataset: Dataset = Field(
        "streets",
        description="Embedded benchmark (streets), your own folders, or a source and target of "
        "the paper.",
    )
    city: City = hashed_if_changed("", description="Target city of cityscapes_crosscity.")
    realisation: int = Field(
        0, ge=0, description="Number of a draw of the embedded benchmark; each has its own images."
    )
    height: int = Field(64, ge=16, description="Height in pixels to which every image is resized.")
    width: int = Field(128, ge=16, description="Width in pixels to which every image is resized.")
    source_height: int = hashed_if_changed(
        0, ge=0, description="Height of source images in pixels; 0: that of the target."
    )
    source_width: int = hashed_if_changed(
        0, ge=0, description="Width of source images in pixels; 0: that of the target."
    )
    source_images: int = Field(
        2000, ge=1, description="Number of source training images of the embedded benchmark."
    )
    target_images: int = Field(
        800, ge=1, description="Number of unlabelled target images of the embedded benchmark."
    )
    eval_images: int = Field(
        200,
        ge=1,
        description="Number of images in each val and test split of the embedded benchmark.",
    )
    gap: float = Field(
        1.0,
        ge=0.0,
        le=1.0,
        description="Difference in style between source and target of the embedded benchmark.",
    )
    source_root: str = Field("", description="Folder of the labelled source images.")
    target_root: str = Field("", description="Folder of the target images.")
    classes: str = Field(
        "",
        description="Classes of your own folders: 'id:name,...', or 'name,...' with ids from 0. "
        "'8+9:vegetation' gives two ids to one class, '3+12:-' ignores ids.",
    )
    source_classes: str = hashed_if_changed(
        "",
        description="Classes of the source images or of source_checkpoint, written as in classes; "
        "without them those of the target or of the file.",
    )
    class_map: str = hashed_if_changed(
        "",
        description="Target class of each source class: 'car:car+truck+bus,road,...', a CSV file "
        "with the columns target and source, or camvid10, idd7, synthia16, crosscity13 (from "
        "Cityscapes' 19). Without it equal names are matched.",
    )
    source_train_content: str = hashed_if_changed(
        "",
        description="SHA-256 of the source's split train (your own folders); computed, do not set "
        "it.",
    )
    source_val_content: str = hashed_if_changed(
        "",
        description="SHA-256 of the source's split val (your own folders); computed, do not set "
        "it.",
    )
    target_train_content: str = hashed_if_changed(
        "",
        description="SHA-256 of the target's training images (your own folders); computed, do not "
        "set it.",
    )
    target_labels_content: str = hashed_if_changed(
        "",
        description="SHA-256 of the labels of the target's training images, which the oracle alone "
        "reads (your own folders); computed, do not set it.",
    )
    target_val_content: str = hashed_if_changed(
        "",
        description="SHA-256 of the target's split val (your own folders); computed, do not set "
        "it.",
    )
    target_test_content: str = hashed_if_changed(
        "",
        description="SHA-256 of the target's split test (your own folders); computed, do not set "
        "it.",
    )

    @field_validator("class_map", mode="after")
    @classmethod
    def _file_becomes_text(cls, value: str) -> str:
        return plain_text(value)

    @model_validator(mode="after")
    def _folder_needs_target(self) -> Self:
        if self.dataset == "folder" and not self.target_root:
            both = "" if self.source_root else "source_root=DIR and "
            raise ValueError(f"dataset=folder needs {both}target_root=DIR")
        if self.dataset == "folder" and not self.classes:
            raise ValueError("dataset=folder needs classes=road,sidewalk,... or classes=0:road,...")
        if self.dataset in PUBLISHED and self.classes:
            raise ValueError(f"dataset={self.dataset} has its own classes: leave classes out")
        if (self.dataset == "cityscapes_crosscity") != bool(self.city):
            raise ValueError(
                "dataset=cityscapes_crosscity needs city=rome, rio, tokyo or taipei; no other "
                "dataset takes a city"
            )
        return self

    def source_size(self) -> tuple[int, int]:
        """Height and width of source images in pixels."""
        return self.source_height or self.height, self.source_width or self.width
