"""Settings of procedure=cbst."""

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable_peer


class ClassBalancedSettings(SettingsGroup):
    """Class-balanced self-training."""

    cbst_rounds: int = hashed_if_changed(
        3, ge=1, description="Number of rounds of equal length, each with new labels."
    )
    cbst_share: float = tunable_peer(
        0.2,
        grid=(0.1, 0.2, 0.3, 0.5),
        search=(0.05, 0.5),
        gt=0,
        le=1,
        description="Share of the pixels of each predicted class that is labelled in the first "
        "round.",
    )
    cbst_share_step: float = hashed_if_changed(
        0.05, ge=0, le=1, description="Increase of that share from round to round."
    )
    cbst_share_most: float = hashed_if_changed(
        0.5,
        gt=0,
        le=1,
        description="Largest share of the pixels of each predicted class that is labelled.",
    )
