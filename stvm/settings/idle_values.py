"""Settings of an objective that another value leaves without effect, and shares that do not fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Idle:
    """Settings that have no effect.

    Attributes:
        names: Names of the settings.
        where: Values with which they have no effect, by setting; all of these must hold.
    """

    names: tuple[str, ...]
    where: Values

    def holds(self, values: Values) -> bool:
        """Whether the settings have no effect with these values."""
        return all(values[name] == value for name, value in self.where.items())


_CAPPED = ("cbst", "crst")
"""Objectives whose share grows from round to round up to a largest one."""

IDLE = (
    Idle(("maxsquares_ratio",), {"maxsquares_weight": "none"}),
    Idle(("srda_floor",), {"srda_class_weights": "equal"}),
    Idle(("srda_shares",), {"srda_weight": 0}),
    # The shares of a batch of one image are those of the image.
    Idle(("srda_shares",), {"batch": 1}),
    # Every confidence is above 0, so only the image as it is gives labels.
    Idle(("cotta_views",), {"cotta_threshold": 0}),
    *(Idle((f"{one}_share_step", f"{one}_share_most"), {f"{one}_rounds": 1}) for one in _CAPPED),
    *(Idle((f"{one}_share_most",), {f"{one}_share_step": 0}) for one in _CAPPED),
    Idle(("iast_share_step",), {"iast_rounds": 1}),
    Idle(("urma_decoders", "urma_dropout"), {"urma_consistency": 0}),
    Idle(("hcl_rare_share",), {"hcl_rare_weight": 1}),
    Idle(("ld_share_step",), {"ld_rounds": 1}),
    Idle(("ldbe_share_step",), {"ldbe_rounds": 1, "ldbe_mixed_rounds": 1}),
)
"""Settings of an objective whose part another setting turns off."""


def idle_with(values: Values) -> list[tuple[str, Values]]:
    """Settings without effect, each with the values that leave it so.

    Args:
        values: Values of training and objectives by name.
    """
    return [(name, rule.where) for rule in IDLE if rule.holds(values) for name in rule.names]


def refuse_idle_values(values: Values, usual: Values) -> None:
    """Refuse settings that another value leaves without effect; defaults are taken.

    Args:
        values: Values of training and objectives by name.
        usual: Value of each where none is given.

    Raises:
        ValueError: The message names the first one, or a share that is above the largest one.
    """
    for name, where in idle_with(values):
        if values[name] != usual[name]:
            told = " and ".join(f"{other}={values[other]}" for other in where)
            raise ValueError(
                f"{name}={values[name]} has no effect with {told}: leave it out, or change "
                + " or ".join(where)
            )
    _refuse_idle_threshold(values, usual)
    for one in _CAPPED:
        share, most = f"{one}_share", f"{one}_share_most"
        if values[share] > values[most]:
            raise ValueError(
                f"{share}={values[share]} is above {most}={values[most]}: lower {share}, or raise "
                + most
            )


def _refuse_idle_threshold(values: Values, usual: Values) -> None:
    """Refuse a share of the largest confidence that gives no threshold above the least one."""
    most, least = values["dtst_most"], values["dtst_least"]
    if least >= most != usual["dtst_most"]:
        raise ValueError(
            f"dtst_most={most} has no effect with dtst_least={least}: no threshold is then above "
            f"{least}; raise dtst_most, or lower dtst_least"
        )
