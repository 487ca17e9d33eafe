"""Which images, and how large."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stvm.settings.fields import SettingsGroup, hashed_if_changed

Dataset = Literal[
    "streets", "folder", "gta5_cityscapes", "synthia_cityscapes", "cityscapes_crosscity"
]
City = Literal["", "rome", "rio", "tokyo", "taipei"]

PUBLISHED: tuple[Dataset, ...] = ("gta5_cityscapes", "synthia_cityscapes", "cityscapes_crosscity")
"""Datasets in the folders their authors publish them in: what they hold does not depend on where
they lie, and their roots stay out of a trial's name."""


class DataSettings(SettingsGroup):
    """Which images, and how large."""

    dataset: Dataset = Field(
        "streets",
        description="Embedded benchmark, folders of your own, or a source and target of the paper.",
    )
    city: City = hashed_if_changed("", description="cityscapes_crosscity: the target city.")
    realisation: int = Field(0, ge=0, description="Draw of the embedded benchmark: its own images.")
    height: int = Field(64, ge=16, description="Height in pixels every image is resized to.")
    width: int = Field(128, ge=16, description="Width in pixels every image is resized to.")
    source_height: int = hashed_if_changed(
        0, ge=0, description="Height of source images; 0: as the target's."
    )
    source_width: int = hashed_if_changed(
        0, ge=0, description="Width of source images; 0: as the target's."
    )
    source_images: int = Field(2000, ge=1, description="Embedded source training images.")
    target_images: int = Field(800, ge=1, description="Embedded unlabelled target images.")
    eval_images: int = Field(200, ge=1, description="Embedded images in each val and test split.")
    gap: float = Field(1.0, ge=0.0, le=1.0, description="Style distance of the embedded target.")
    source_root: str = Field("", description="Folder of the labelled source images.")
    target_root: str = Field("", description="Folder of the target images.")
    classes: str = Field("", description="Folder data: 'id:name,...' or 'name,...' from id 0.")
    source_train_content: str = hashed_if_changed(
        "", description="Folder data: SHA-256 of the source's split train, found out."
    )
    source_val_content: str = hashed_if_changed(
        "", description="Folder data: SHA-256 of the source's split val, found out."
    )
    target_train_content: str = hashed_if_changed(
        "", description="Folder data: SHA-256 of the target's training images, found out."
    )
    target_labels_content: str = hashed_if_changed(
        "",
        description="Folder data: SHA-256 of the labels of the target's training images, found "
        "out where the oracle reads them.",
    )
    target_val_content: str = hashed_if_changed(
        "", description="Folder data: SHA-256 of the target's split val, found out."
    )
    target_test_content: str = hashed_if_changed(
        "", description="Folder data: SHA-256 of the target's split test, found out."
    )

    @model_validator(mode="after")
    def _folder_needs_roots(self) -> Self:
        if self.dataset == "folder" and not (self.target_root and self.source_root):
            raise ValueError("dataset=folder needs source_root=DIR and target_root=DIR")
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
