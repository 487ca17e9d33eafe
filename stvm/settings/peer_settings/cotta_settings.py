"""Settings of procedure=cotta."""

from typing import Literal

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable_peer


class CottaSettings(SettingsGroup):
    """Labels averaged over views, and weights that go back to the start at random."""

    cotta_threshold: float = tunable_peer(
        0.69,
        grid=(0.5, 0.69, 0.9),
        search=(0.3, 0.99),
        ge=0,
        le=1,
        description="Confidence of the starting network above which the teacher labels a pixel "
        "from the image as it is, and not from the mean over its views.",
    )
    cotta_restore: float = tunable_peer(
        0.01,
        grid=(0.0, 0.001, 0.01),
        search=(0.0001, 0.02),
        ge=0,
        le=1,
        description="Probability that a trained weight or bias goes back to its value in "
        "the starting network, for each of them in each iteration.",
    )
    cotta_views: Literal["mirrored", "scales"] = hashed_if_changed(
        "mirrored",
        description="Views of the teacher: the image and its mirror image (mirrored), or these two "
        "also at six other scales from 0.5 to 2, as published (scales: 14 views, which cost as "
        "much as 25 passes).",
    )
