"""How mIoU is measured."""

from typing import Literal

from stvm.groups.base import Group, later

ProtocolName = Literal["image", "cityscapes_full", "cityscapes_full_corners", "cityscapes_half"]
"""Protocols that `stvm/protocols.py` defines."""


class EvaluationSettings(Group):
    """How mIoU is measured; labels serve nothing else."""

    protocol: ProtocolName = later(
        "image", description="Sizes and interpolation of evaluation; image: at the images' size."
    )
    multi_scale: bool = later(
        False, description="Measure with the protocol's scales and flips too (MST)."
    )
