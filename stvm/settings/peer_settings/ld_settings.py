"""Settings of procedure=ld."""

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable_peer


class NegativeLearningSettings(SettingsGroup):
    """Positive and negative labels."""

    ld_rounds: int = hashed_if_changed(
        2, ge=1, description="Number of rounds of LD, each with new labels."
    )
    ld_share: float = tunable_peer(
        0.1,
        grid=(0.05, 0.1, 0.2, 0.4),
        search=(0.02, 0.8),
        gt=0,
        le=1,
        description="Share of the pixels of each predicted class, and of those of each image, that "
        "is labelled in the first round: the most confident ones.",
    )
    ld_share_step: float = hashed_if_changed(
        0.05, ge=0, le=1, description="Increase of that share from round to round."
    )
    ld_entropy: float = tunable_peer(
        1.0,
        grid=(0.1, 0.3, 1),
        search=(0.01, 3.0),
        ge=0,
        description="Weight of the entropy of all pixels.",
    )
    ld_negative: float = hashed_if_changed(
        1.0, ge=0, description="Weight of the loss on the negative label, which every pixel has."
    )
