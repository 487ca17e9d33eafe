"""Settings of procedure=hcl."""

from stvm.settings.fields import SettingsGroup, hashed_if_changed, tunable_peer


class HistoricalContrastSettings(SettingsGroup):
    """Historical contrastive learning."""

    hcl_momentum: float = hashed_if_changed(
        0.004, gt=0, le=1, description="Weight of the student in an update of the moving average."
    )
    hcl_period: int = hashed_if_changed(
        300,
        ge=1,
        description="Iterations after which moving average and historical network become copies of "
        "the student.",
    )
    hcl_contrast: float = tunable_peer(
        0.5,
        grid=(0.1, 0.5, 1),
        search=(0.0, 2.0),
        ge=0,
        description="Weight of the contrastive loss of the features.",
    )
    hcl_rare_weight: float = hashed_if_changed(
        7.0,
        ge=1,
        description="Weight of a rare class, and of an absent class in the running frequency "
        "factor.",
    )
    hcl_rare_share: float = hashed_if_changed(
        0.03125, ge=0, le=1, description="Share of the batch's pixels below which a class is rare."
    )
    hcl_positions: int = hashed_if_changed(
        10_000,
        ge=1,
        description="Most positions of an image in the contrastive loss, which needs memory for "
        "their square. A finer feature map is averaged over squares.",
    )
