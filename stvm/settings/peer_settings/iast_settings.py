"""Settings of procedure=iast."""

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable_peer


class InstanceAdaptiveSettings(SettingsGroup):
    """Instance-adaptive self-training."""

    iast_rounds: int = hashed_if_changed(
        3, ge=1, description="Number of rounds of equal length, each with new labels."
    )
    iast_share: float = tunable_peer(
        0.2,
        grid=(0.1, 0.2, 0.3, 0.5),
        search=(0.05, 0.8),
        gt=0,
        le=1,
        description="Share of the pixels of each predicted class in an image that the new "
        "threshold of the class keeps, in the first round and where the threshold is 1.",
    )
    iast_share_step: float = hashed_if_changed(
        0.05, ge=0, le=1, description="Increase of that share from round to round."
    )
    iast_gamma: float = tunable_peer(
        8.0,
        grid=(2, 4, 8, 16),
        search=(0.0, 20.0),
        ge=0,
        description="Exponent of the threshold of a class; the result multiplies that share, so a "
        "low threshold keeps fewer pixels.",
    )
    iast_momentum: float = hashed_if_changed(
        0.9,
        ge=0,
        lt=1,
        description="Weight of the old threshold in the moving average over the images.",
    )
    iast_entropy: float = tunable_peer(
        3.0,
        grid=(1, 3, 10),
        search=(0.1, 30.0),
        ge=0,
        description="Weight of the entropy of pixels without a label, divided by the number of "
        "classes.",
    )
    iast_divergence: float = hashed_if_changed(
        0.1,
        ge=0,
        description="Weight of the divergence of equal probabilities from those of a labelled "
        "pixel, divided by the number of classes.",
    )
