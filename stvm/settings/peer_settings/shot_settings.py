"""Settings of procedure=shot."""

from typing import Literal

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable_peer


class ShotSettings(SettingsGroup):
    """SHOT's information maximisation with labels of class centroids."""

    shot_prior: Literal["uniform", "source"] = hashed_if_changed(
        "uniform",
        description="Class shares that the mean prediction of a batch is drawn to: equal ones, as "
        "published, or those that the network at the start predicts on the target images (source).",
    )
    shot_rounds: int = hashed_if_changed(
        15, ge=1, description="Number of times that the student labels all target images."
    )
    shot_weight: float = tunable_peer(
        0.3,
        grid=(0.1, 0.3, 1.0),
        search=(0.03, 3.0),
        gt=0,
        description="Weight of the cross-entropy to the labels of the centroids.",
    )
    shot_least: int = hashed_if_changed(
        0,
        ge=0,
        description="Positions of a class in the feature maps of all images, above which it gets a "
        "centroid.",
    )
