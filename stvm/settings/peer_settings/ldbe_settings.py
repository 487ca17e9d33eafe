"""Settings of procedure=ldbe."""

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable_peer


class MovingAverageMixSettings(SettingsGroup):
    """LD, then mixed images."""

    ldbe_rounds: int = hashed_if_changed(
        2, ge=1, description="Number of rounds of LD, each with new labels."
    )
    ldbe_share: float = tunable_peer(
        0.1,
        grid=(0.05, 0.1, 0.2, 0.4),
        search=(0.02, 0.8),
        gt=0,
        le=1,
        description="Share of the pixels of each predicted class, and of those of each image, that "
        "is labelled in the first round: the most confident ones.",
    )
    ldbe_share_step: float = hashed_if_changed(
        0.05, ge=0, le=1, description="Increase of that share from round to round."
    )
    ldbe_entropy: float = tunable_peer(
        1.0,
        grid=(0.1, 0.3, 1),
        search=(0.01, 3.0),
        ge=0,
        description="Weight of the entropy of all pixels.",
    )
    ldbe_negative: float = hashed_if_changed(
        1.0, ge=0, description="Weight of the loss on the negative label, which every pixel has."
    )
    ldbe_mixed_rounds: int = hashed_if_changed(
        1, ge=1, description="Number of rounds on mixed images, after those of LD."
    )
    ldbe_decay: float = hashed_if_changed(
        0.99,
        ge=0,
        lt=1,
        description="Largest weight of the old values in an update of the moving average.",
    )
    ldbe_confidence: float = hashed_if_changed(
        0.97,
        ge=0,
        le=1,
        description="Least confidence of a pixel that raises the weight of its mixed image.",
    )
