"""The segmentation network of source model, student and teacher."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stvm.settings.fields import SettingsGroup, hashed_if_changed


class NetworkSettings(SettingsGroup):
    """The segmentation network of source model, student and teacher."""

    network: Literal["small_deeplab", "deeplabv2_resnet101", "deeplabv3_resnet50"] = Field(
        "small_deeplab",
        description="Architecture of the network; the metric network copies its classifier.",
    )
    channels: int = Field(64, ge=8, description="Feature channels of small_deeplab.")
    auxiliary: bool = hashed_if_changed(
        False,
        description="Second classifier on layer 3, used in source training alone.",
    )
    aspp_branches: Literal["auto", "two", "four"] = hashed_if_changed(
        "auto",
        description="Branches of DeepLabV2's ASPP (rates 6, 12, 18, 24) that count; auto: as in "
        "training.",
    )

    @model_validator(mode="after")
    def _fits_the_network(self) -> Self:
        if self.network == "small_deeplab" and self.auxiliary:
            raise ValueError("small_deeplab has no layer 3 to classify: set auxiliary=false")
        if self.network != "deeplabv2_resnet101" and self.aspp_branches != "auto":
            raise ValueError(
                f"aspp_branches={self.aspp_branches} is for deeplabv2_resnet101: leave it out with "
                f"{self.network}"
            )
        return self
