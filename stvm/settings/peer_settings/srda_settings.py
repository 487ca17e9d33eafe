"""Settings of procedure=srda."""

from typing import Literal

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable_peer


class SrdaSettings(SettingsGroup):
    """Weighted entropy and class shares near to a prior, which is predicted at the start."""

    srda_weight: float = tunable_peer(
        1.0,
        grid=(0.1, 0.3, 1.0, 3.0),
        search=(0.03, 10.0),
        ge=0,
        description="Weight lambda of the divergence of the class shares from the prior.",
    )
    srda_shares: Literal["batch", "image"] = hashed_if_changed(
        "batch",
        description="Pixels whose class shares are compared with the prior: the whole batch "
        "(batch), or each image alone (image), as published for images that all hold the same "
        "classes.",
    )
    srda_class_weights: Literal["inverse", "equal"] = hashed_if_changed(
        "inverse",
        description="Weights of the classes in the entropy, which add up to 1: the inverse of the "
        "prior (inverse), or equal weights (equal).",
    )
    srda_floor: float = hashed_if_changed(
        0.01,
        gt=0,
        le=1,
        description="Lowest class share whose inverse is taken; lower ones count as this. Without "
        "it a class that the starting network never predicts would take all the weight.",
    )
