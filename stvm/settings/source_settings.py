"""How the source model is trained, or where it comes from."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stvm.settings.fields import SettingsGroup, hashed_if_changed


class SourceSettings(SettingsGroup):
    """How the source model is trained; it is cached under the hash of these and the data's."""

    source_checkpoint: str = Field(
        "", description="State dict to start from; without one the source model is trained."
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
    ] = hashed_if_changed(
        "auto", description="Whose code wrote source_checkpoint or source_init, if untold."
    )
    source_init: str = hashed_if_changed(
        "", description="Weights of the backbone that source training starts from; else random."
    )
    checkpoint_content: str = hashed_if_changed(
        "",
        description="SHA-256 of source_checkpoint, found out; names a trial in place of its path.",
    )
    init_content: str = hashed_if_changed(
        "", description="SHA-256 of source_init, found out; it names a source model."
    )
    source_seed: int = Field(0, ge=0, description="Seed of the source model.")
    source_iterations: int = Field(3500, ge=1, description="Iterations of source training.")
    source_batch: int = Field(8, ge=1, description="Images a source batch.")
    source_accumulate: int = hashed_if_changed(
        1,
        ge=1,
        description="Parts of a source batch that pass the network one by one, to save memory; "
        "their gradients add up to the batch's, but each part has its own batch norm and dropout.",
    )
    source_lr: float = Field(0.02, gt=0, description="Learning rate of source training.")
    source_head_lr_factor: float = hashed_if_changed(
        1.0, gt=0, description="Classifier's rate over the extractor's in source training."
    )
    source_auxiliary: float = hashed_if_changed(
        0.1, ge=0, description="Weight of the auxiliary classifier's loss in source training."
    )
    source_crop_height: int = hashed_if_changed(
        0, ge=0, description="Of source crops; 0: as crop_height."
    )
    source_crop_width: int = hashed_if_changed(
        0, ge=0, description="Of source crops; 0: as crop_width."
    )
    source_augment: float = Field(
        0.0, ge=0, le=1, description="Strength of photometric augmentation in source training."
    )
    source_scale: float = Field(
        0.0, ge=0, lt=1, description="Source images are zoomed in by up to 1/(1 - this)."
    )
    source_rare: float = Field(
        0.0, ge=0, le=1, description="Share of source crops centred on a class drawn uniformly."
    )
    source_balance: float = Field(
        0.0, ge=0, le=1, description="Power of (median frequency / frequency) that weighs a class."
    )

    @model_validator(mode="after")
    def _batch_can_be_parted(self) -> Self:
        if self.source_batch % self.source_accumulate:
            raise ValueError(
                f"source_batch={self.source_batch} cannot be parted into source_accumulate="
                f"{self.source_accumulate} equal parts: set it to a divisor of source_batch"
            )
        return self
