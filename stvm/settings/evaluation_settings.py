"""Settings of the evaluation: how mIoU is measured."""

from typing import Literal

from stvm.settings.fields import SettingsGroup, hashed_if_changed

ProtocolName = Literal["image", "adaptsegnet", "maxsquare", "daformer", "dtst", "dtst_synthia"]
"""Protocols of `stvm/settings/protocols.py`, named after the codes that use them."""


class EvaluationSettings(SettingsGroup):
    """How mIoU is measured. Target labels are used for nothing else."""

    protocol: ProtocolName = hashed_if_changed(
        "image",
        description="Sizes and interpolation by which mIoU is measured; image: the size of the "
        "trial's images.",
    )
    multi_scale: bool = hashed_if_changed(
        False,
        description="Figures with the protocol's scales and flips too (multi-scale testing, MST).",
    )
    unmatched: Literal["error", "ignored"] = hashed_if_changed(
        "error",
        description="Source classes that the target does not have. error: a pixel predicted as "
        "one is an error of its true class; ignored: they take no part in the arg max.",
    )
    detail_images: int = hashed_if_changed(
        0,
        ge=0,
        description="Largest number of held-out images, evenly spaced, for the figures beside mIoU "
        "(AUROC, silhouette); 0: all of them. mIoU is always of all images.",
    )
