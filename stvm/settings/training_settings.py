"""The optimisation of the student and of the metric network (section IV-B)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stvm.settings.fields import SettingsGroup, hashed_if_changed


class TrainingSettings(SettingsGroup):
    """The optimisation of the student and of the metric network (section IV-B)."""

    seed: int = Field(0, ge=0, description="Seed of everything random in the trial.")
    iterations: int = Field(
        1000, ge=1, description="Iterations of adaptation; the last is reported."
    )
    batch: int = Field(2, ge=1, description="Target images a batch.")
    accumulate: int = hashed_if_changed(
        1,
        ge=1,
        description="Parts of a batch that pass the student one by one, to save memory; their "
        "gradients add up to the batch's, but each part has its own batch norm and dropout.",
    )
    crop_height: int = Field(64, ge=16, description="Height of the random crop in pixels.")
    crop_width: int = Field(64, ge=16, description="Width of the random crop in pixels.")
    lr: float = Field(2.5e-4, gt=0, description="Learning rate of the feature extractor.")
    head_lr_factor: float = Field(10.0, gt=0, description="Classifier's rate over the extractor's.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum of SGD.")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay of SGD.")
    metric_lr: float = Field(3e-4, gt=0, description="Adam's rate for metric network and proxies.")
    poly_power: float = Field(0.9, ge=0, description="Power of the polynomial decay.")
    evaluated: Literal["student", "teacher"] = Field(
        "student", description="Network reported; without MT the teacher is the student."
    )
    eval_split: Literal["val", "test"] = Field("test", description="Split that is reported.")
    workers: int = Field(0, ge=0, description="Processes that load target images.")

    @model_validator(mode="after")
    def _batch_can_be_parted(self) -> Self:
        if self.batch % self.accumulate:
            raise ValueError(
                f"batch={self.batch} cannot be parted into accumulate={self.accumulate} equal "
                "parts: set accumulate to a divisor of batch"
            )
        return self
