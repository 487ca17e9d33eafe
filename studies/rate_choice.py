"""The choice of a learning rate from recorded trials: by a score without labels, or as an oracle.

A trial that failed or has no score is never chosen. One that collapsed is chosen only if every
trial did: the collapse is seen in the predictions, without a label.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stvm.records.record import Record
from stvm.records.selection_scores import SELECTION_SCORES, SelectionScore

ORACLE = SELECTION_SCORES["miou"]


@dataclass(frozen=True)
class Choice:
    """The learning rates chosen for a row.

    Attributes:
        rate: rate chosen without labels.
        oracle: rate chosen by target mIoU.
    """

    rate: float
    oracle: float


def choose(tried: Mapping[float, Record | None], score: SelectionScore) -> Choice | None:
    """The choice among trials by learning rate; None while one of them has no record.

    Where no trial can be chosen, since all failed, the lowest rate is.

    Args:
        tried: record of the trial with each rate.
        score: score without labels to choose by.
    """
    records = {rate: record for rate, record in tried.items() if record is not None}
    if not tried or len(records) < len(tried):
        return None
    sound = {rate: record for rate, record in records.items() if not record.collapsed}
    rate = _best(sound, score) or _best(records, score) or min(records)
    return Choice(rate, _best(records, ORACLE) or min(records))


def _best(records: Mapping[float, Record], score: SelectionScore) -> float | None:
    """The rate with the best value, among equals the lowest; None where no trial has one."""
    sign = 1 if score.higher_is_better else -1
    values = {
        rate: sign * value
        for rate, record in sorted(records.items())
        if record.is_done and (value := score.value(record)) is not None
    }
    return max(values, key=lambda rate: values[rate], default=None)
