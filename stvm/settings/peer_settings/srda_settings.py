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
        description="Weight of the divergence of class shares from the prior, lambda.",
    )
    srda_shares: Literal["batch", "image"] = hashed_if_changed(
        "batch",
        description="Pixels whose mean class shares are compared with the prior: the whole batch, "
        "or each image for itself, as published for images that all hold the same classes.",
    )
    srda_class_weights: Literal["inverse", "equal"] = hashed_if_changed(
        "inverse",
        description="Weights of the classes in the entropy, which add up to 1: inverse shares of "
        "the prior, or equal ones.",
    )
    srda_floor: float = hashed_if_changed(
        0.01,
        gt=0,
        le=1,
        description="Least share that counts in an inverse; without it a class that is never "
        "expected would take the whole entropy.",
    )
