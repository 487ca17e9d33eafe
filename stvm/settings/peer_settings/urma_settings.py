"""Settings of procedure=urma."""

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable_peer


class UncertaintyReductionSettings(SettingsGroup):
    """Uncertainty reduction with auxiliary decoders."""

    urma_share: float = tunable_peer(
        0.2,
        grid=(0.1, 0.2, 0.3, 0.5),
        search=(0.05, 0.8),
        gt=0,
        le=1,
        description="Share of the pixels of each predicted class that is labelled.",
    )
    urma_entropy: float = tunable_peer(
        1.0,
        grid=(0.1, 0.3, 1),
        search=(0.01, 3.0),
        ge=0,
        description="Weight of the normalised entropy of all pixels.",
    )
    urma_consistency: float = tunable_peer(
        0.1,
        grid=(0.01, 0.1, 1),
        search=(0.001, 3.0),
        ge=0,
        description="Weight of the squared difference between the auxiliary decoders and the "
        "student.",
    )
    urma_decoders: int = hashed_if_changed(4, ge=1, description="Number of auxiliary decoders.")
    urma_dropout: float = hashed_if_changed(
        0.5,
        ge=0,
        lt=1,
        description="Dropout in front of each auxiliary decoder: share of the feature channels "
        "that it does not see.",
    )
