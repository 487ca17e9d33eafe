"""Settings of the source model: how it is trained, or where it comes from."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stvm.settings.fields import SettingsGroup, hashed_if_changed


class SourceSettings(SettingsGroup):
    """How the source model is trained. The cache names it by the hash of these settings."""

    source_checkpoint: str = Field(
        "", description="File of weights to start from; without one the source model is trained."
    )
    checkpoint_family: Literal[
        "auto",
        "stvm",
        "adaptsegnet",
        "maxsquare",
        "advent",
        "crst",
        "dacs",
        "fada",
        "dasac",
        "tllib",
        "mmseg",
        "torchvision",
        "transformers",
        "edgenets",
    ] = hashed_if_changed(
        "auto",
        description="Code that wrote source_checkpoint or source_init; auto: recognised by its "
        "keys.",
    )
    source_init: str = hashed_if_changed(
        "",
        description="File of backbone weights to start source training from; without one they are "
        "random.",
    )
    checkpoint_content: str = hashed_if_changed(
        "",
        description="SHA-256 of source_checkpoint, part of a trial's name; computed, do not set "
        "it.",
    )
    init_content: str = hashed_if_changed(
        "",
        description="SHA-256 of source_init, part of a source model's name; computed, do not set "
        "it.",
    )
    source_seed: int = Field(0, ge=0, description="Seed of source training.")
    source_iterations: int = Field(3500, ge=1, description="Iterations of source training.")
    source_batch: int = Field(8, ge=1, description="Source images in a batch.")
    source_accumulate: int = hashed_if_changed(
        1,
        ge=1,
        description="Parts of a source batch that pass the network one by one, to save memory. "
        "Their gradients add up to the batch's, but each part has its own batch norm and dropout.",
    )
    source_optimizer: Literal["sgd", "adamw"] = hashed_if_changed(
        "sgd", description="Optimiser of source training and of the oracle, SGD or AdamW."
    )
    source_lr: float = Field(0.02, gt=0, description="Learning rate of source training.")
    source_head_lr_factor: float = hashed_if_changed(
        1.0,
        gt=0,
        description="Learning rate of the classifier over that of the extractor in source "
        "training.",
    )
    source_auxiliary: float = hashed_if_changed(
        0.1, ge=0, description="Weight of the auxiliary classifier's loss in source training."
    )
    source_crop_height: int = hashed_if_changed(
        0, ge=0, description="Height of source crops in pixels; 0: crop_height."
    )
    source_crop_width: int = hashed_if_changed(
        0, ge=0, description="Width of source crops in pixels; 0: crop_width."
    )
    source_augment: float = Field(
        0.0, ge=0, le=1, description="Strength of photometric augmentation in source training."
    )
    source_scale: float = Field(
        0.0, ge=0, lt=1, description="Zoom of source images: up to 1 / (1 - source_scale)."
    )
    source_rare: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of source crops that are centred on a class, drawn uniformly.",
    )
    source_balance: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Power of (median frequency / frequency), the weight of a class in source "
        "training.",
    )

    @model_validator(mode="after")
    def _batch_can_be_parted(self) -> Self:
        if self.source_batch % self.source_accumulate:
            raise ValueError(
                f"source_batch={self.source_batch} cannot be split into source_accumulate="
                f"{self.source_accumulate} equal parts: set it to a divisor of source_batch"
            )
        return self
