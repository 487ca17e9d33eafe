"""The segmentation network of source model, student and teacher."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stvm.networks import find_network, known_names
from stvm.networks.known_networks import WIDTHS
from stvm.settings.fields import SettingsGroup, hashed_if_changed

STRIDES = (4, 8, 16, 32)
"""Strides of the features of timm:NAME."""


class NetworkSettings(SettingsGroup):
    """The segmentation network of source model, student and teacher."""

    network: str = Field(
        "small_deeplab",
        description="Architecture of the network; the metric network copies its classifier. "
        f"Known: {', '.join(known_names())}.",
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

    network_width: float = hashed_if_changed(
        1.0,
        ge=0.5,
        le=2.0,
        description="Width of espnetv2, which multiplies the channels of its encoder: 0.5, 1, "
        "1.25, 1.5 or 2.",
    )
    output_stride: int = hashed_if_changed(
        16,
        ge=4,
        le=32,
        description="Stride of the features of timm:NAME, 4, 8, 16 or 32; the last layers are "
        "dilated where the network allows it, and left out where not.",
    )
    network_content: str = hashed_if_changed(
        "",
        description="SHA-256 of the files from which FILE.py:FUNCTION or segformer:FOLDER is "
        "built, part of a trial's name; computed, do not set it.",
    )

    @model_validator(mode="after")
    def _fits_the_network(self) -> Self:
        facts = find_network(self.network)
        if self.auxiliary and not facts.auxiliary:
            raise ValueError(f"{self.network} has no layer 3 to classify: set auxiliary=false")
        if self.aspp_branches != "auto" and not facts.aspp_branches:
            raise ValueError(
                f"aspp_branches={self.aspp_branches} is for deeplabv2_resnet101: leave it out with "
                f"{self.network}"
            )
        return self

    @model_validator(mode="after")
    def _stride_is_of_timm(self) -> Self:
        if self.output_stride != 16 and not find_network(self.network).output_stride:
            raise ValueError(
                f"output_stride={self.output_stride} is for timm:NAME: leave it out with "
                f"{self.network}"
            )
        if self.output_stride not in STRIDES:
            raise ValueError(f"output_stride={self.output_stride}: set it to 4, 8, 16 or 32")
        return self

    @model_validator(mode="after")
    def _width_is_known(self) -> Self:
        width = f"network_width={self.network_width:g}"
        if self.network_width != 1.0 and not find_network(self.network).width:
            raise ValueError(f"{width} is for espnetv2: set network_width=1 with {self.network}")
        if self.network_width not in WIDTHS:
            known = ", ".join(f"{known:g}" for known in WIDTHS)
            raise ValueError(f"{width}: espnetv2 has the widths {known}")
        return self
