"""Settings of procedure=cotta."""

from typing import Literal

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable_peer


class CottaSettings(SettingsGroup):
    """Labels of an average over views, and weights that go back by chance."""

    cotta_threshold: float = tunable_peer(
        0.69,
        grid=(0.5, 0.69, 0.9),
        search=(0.3, 0.99),
        ge=0,
        le=1,
        description="Confidence of the network at the start above which the teacher labels a pixel "
        "from the image as it is, and not from the mean over its views.",
    )
    cotta_restore: float = tunable_peer(
        0.01,
        grid=(0.0, 0.001, 0.01),
        search=(0.0001, 0.02),
        ge=0,
        le=1,
        description="Chance of each trained number to go back to its value at the start, in each "
        "iteration.",
    )
    cotta_views: Literal["mirrored", "scales"] = hashed_if_changed(
        "mirrored",
        description="Views of the teacher: the image and its mirror image, or as published both "
        "also at six other scales from 0.5 to 2 (14 views, which cost 25 passes).",
    )
