"""The optimisation of the student and of the metric network (section IV-B)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stvm.settings.fields import SettingsGroup, hashed_if_changed


class TrainingSettings(SettingsGroup):
    """The optimisation of the student and of the metric network (section IV-B)."""

    seed: int = Field(0, ge=0, description="Seed of everything that is random in the trial.")
    iterations: int = Field(
        1000,
        ge=1,
        description="Iterations of adaptation; the network after the last one is reported.",
    )
    batch: int = Field(2, ge=1, description="Target images in a batch.")
    accumulate: int = hashed_if_changed(
        1,
        ge=1,
        description="Parts of a batch that pass the student one by one, to save memory. Their "
        "gradients add up to the batch's, but each part has its own batch norm and dropout.",
    )
    crop_height: int = Field(64, ge=16, description="Height of the random crop in pixels.")
    crop_width: int = Field(64, ge=16, description="Width of the random crop in pixels.")
    optimizer: Literal["sgd", "adamw"] = hashed_if_changed(
        "sgd",
        description="Optimiser of the student: the paper's SGD, or AdamW, which small networks on "
        "real images need.",
    )
    lr: float = Field(2.5e-4, gt=0, description="Learning rate of the feature extractor.")
    head_lr_factor: float = Field(
        10.0, gt=0, description="Learning rate of the classifier over that of the extractor."
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum of SGD.")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay of SGD or AdamW.")
    metric_lr: float = Field(
        3e-4, gt=0, description="Learning rate of Adam for the metric network and the proxies."
    )
    poly_power: float = Field(
        0.9, ge=0, description="Power of the polynomial decay of the learning rates."
    )
    evaluated: Literal["student", "teacher"] = Field(
        "student", description="Network that is reported; without MT the teacher is the student."
    )
    eval_split: Literal["val", "test"] = Field(
        "test", description="Split of the target on which results are measured."
    )
    workers: int = Field(0, ge=0, description="Number of processes that load target images.")

    @model_validator(mode="after")
    def _batch_can_be_parted(self) -> Self:
        if self.batch % self.accumulate:
            raise ValueError(
                f"batch={self.batch} cannot be split into accumulate={self.accumulate} equal "
                "parts: set accumulate to a divisor of batch"
            )
        return self
