"""Settings of procedure=crst."""

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable_peer


class ConfidenceRegularisedSettings(SettingsGroup):
    """Class-balanced self-training with a regulariser."""

    crst_rounds: int = hashed_if_changed(
        3, ge=1, description="Number of rounds of equal length, each with new labels."
    )
    crst_share: float = tunable_peer(
        0.2,
        grid=(0.1, 0.2, 0.3, 0.5),
        search=(0.05, 0.5),
        gt=0,
        le=1,
        description="Share of the pixels of each predicted class that is labelled in the first "
        "round.",
    )
    crst_share_step: float = hashed_if_changed(
        0.05, ge=0, le=1, description="Increase of that share from round to round."
    )
    crst_share_most: float = hashed_if_changed(
        0.5,
        gt=0,
        le=1,
        description="Largest share of the pixels of each predicted class that is labelled.",
    )
    crst_divergence: float = tunable_peer(
        0.1,
        grid=(0.05, 0.1, 0.2),
        search=(0.01, 1.0),
        ge=0,
        description="Weight of the divergence of equal probabilities from those of a labelled "
        "pixel (MRKLD).",
    )
