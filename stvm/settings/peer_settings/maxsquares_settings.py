"""Settings of procedure=maxsquares."""

from typing import Literal

from stvm.settings.fields import SettingsGroup, hashed_if_changed


class MaxSquaresSettings(SettingsGroup):
    """Maximum squares."""

    maxsquares_weight: Literal["none", "image"] = hashed_if_changed(
        "none",
        description="Weight of a pixel: the same for all (none), or lower for classes that are "
        "frequent in the image's prediction (image; the published image-wise weights, IW).",
    )
    maxsquares_ratio: float = hashed_if_changed(
        0.2,
        ge=0,
        le=1,
        description="Exponent of the class's number of pixels in the weight of "
        "maxsquares_weight=image; 0 weighs all classes alike.",
    )
