"""Scores to choose a trial by: target mIoU, an oracle, and scores without target labels."""

from dataclasses import dataclass

from stvm.errors import known_name
from stvm.records.record import Record


@dataclass(frozen=True)
class SelectionScore:
    """A number in every record to choose settings by.

    Attributes:
        name: value of the option, and name of a label-free score in `result.scores`.
        label: name in tables.
        higher_is_better: whether the highest value is the best.
        oracle: whether it is computed from target labels.
        about: description in one sentence.
    """

    name: str
    label: str
    higher_is_better: bool
    oracle: bool
    about: str

    def value(self, record: Record) -> float | None:
        """The value in a record; None where the record has none."""
        found = record.miou if self.oracle else record.scores.get(self.name)
        return None if found is None else float(found)


_ALL = (
    SelectionScore("miou", "mIoU (oracle)", True, True, "mIoU on target labels: an oracle."),
    SelectionScore(
        "entropy", "mean entropy", False, False, "Mean entropy of the predictions, in nats."
    ),
    SelectionScore(
        "information_maximisation",
        "information maximisation",
        True,
        False,
        "Entropy of the mean prediction minus the mean entropy (Bridle et al. 1991).",
    ),
    SelectionScore(
        "soft_neighbourhood_density",
        "soft neighbourhood density",
        True,
        False,
        "Entropy of the similarities between the predictions of pixels (Saito et al. 2021).",
    ),
    SelectionScore(
        "silhouette",
        "silhouette",
        True,
        False,
        "Mean silhouette of the metric features under the network's own predictions.",
    ),
    SelectionScore(
        "agreement",
        "teacher-student agreement",
        True,
        False,
        "Share of pixels to which student and labelling network (mean teacher, or without MT the "
        "frozen source model) give one class.",
    ),
)
SELECTION_SCORES = {score.name: score for score in _ALL}
"""By name; the oracle first."""


def find_selection_score(name: str) -> SelectionScore:
    """The score of this name, whatever its capitals.

    Raises:
        StvmError: there is none; the message proposes the nearest.
    """
    return SELECTION_SCORES[known_name("objective", name, SELECTION_SCORES)]
