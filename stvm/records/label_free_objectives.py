"""What a trial can be chosen by: target mIoU, an oracle, and scores that need no target label."""

from dataclasses import dataclass
from typing import Any

from stvm.errors import unknown


@dataclass(frozen=True)
class Objective:
    """A number in every record to choose settings by.

    Attributes:
        name: of the option; a score without labels stands under `result.scores` by this name.
        label: for tables.
        higher_is_better: else lower is.
        oracle: it is computed from target labels.
        about: one sentence.
    """

    name: str
    label: str
    higher_is_better: bool
    oracle: bool
    about: str

    def value(self, result: dict[str, Any]) -> float | None:
        """Of a record's `result`; None where the trial has none."""
        found = result["miou"] if self.oracle else (result.get("scores") or {}).get(self.name)
        return None if found is None else float(found)


_ALL = (
    Objective("miou", "mIoU (oracle)", True, True, "mIoU on target labels: an oracle."),
    Objective("entropy", "mean entropy", False, False, "Mean entropy of the predictions, in nats."),
    Objective(
        "information_maximisation",
        "information maximisation",
        True,
        False,
        "Entropy of the mean prediction minus the mean entropy (Bridle et al. 1991).",
    ),
    Objective(
        "soft_neighbourhood_density",
        "soft neighbourhood density",
        True,
        False,
        "Entropy of the similarities between the predictions of pixels (Saito et al. 2021).",
    ),
    Objective(
        "silhouette",
        "silhouette",
        True,
        False,
        "Mean silhouette of the metric features under the network's own predictions.",
    ),
    Objective(
        "agreement",
        "teacher-student agreement",
        True,
        False,
        "Share of pixels to which student and labelling network (mean teacher, or without MT the "
        "frozen source model) give one class.",
    ),
)
OBJECTIVES = {objective.name: objective for objective in _ALL}
"""By name; the oracle first."""


def find_objective(name: str) -> Objective:
    """The objective of this name.

    Raises:
        StvmError: there is none; the message proposes the nearest.
    """
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    raise unknown("objective", name, OBJECTIVES)
