"""Settings of procedure=shotim."""

from typing import Literal

from stvm.settings.fields import SettingsGroup, hashed_if_changed


class ShotImSettings(SettingsGroup):
    """SHOT's information maximisation."""

    shotim_prior: Literal["uniform", "source"] = hashed_if_changed(
        "uniform",
        description="Class shares that the mean prediction of a batch is drawn to: equal ones, as "
        "published (uniform), or those that the starting network predicts on the target images "
        "(source).",
    )
