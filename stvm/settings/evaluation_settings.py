"""How mIoU is measured."""

from typing import Literal

from stvm.settings.fields import SettingsGroup, hashed_if_changed

ProtocolName = Literal["image", "adaptsegnet", "maxsquare", "daformer", "dtst", "dtst_synthia"]
"""Protocols that `stvm/settings/protocols.py` defines, named after their users."""


class EvaluationSettings(SettingsGroup):
    """How mIoU is measured; labels serve nothing else."""

    protocol: ProtocolName = hashed_if_changed(
        "image", description="Sizes and interpolation of evaluation; image: at the images' size."
    )
    multi_scale: bool = hashed_if_changed(
        False, description="Measure also with the protocol's scales and flips (MST)."
    )
