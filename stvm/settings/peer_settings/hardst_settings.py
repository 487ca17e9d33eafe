"""Settings of procedure=hardst."""

from stvm.settings.fields import SettingsGroup, tunable_peer


class HardLabelsSettings(SettingsGroup):
    """Self-training with a hard threshold."""

    hardst_threshold: float = tunable_peer(
        0.9,
        grid=(0.8, 0.9, 0.95),
        search=(0.5, 0.99),
        ge=0,
        lt=1,
        description="Confidence above which the label of a pixel is used for training.",
    )
