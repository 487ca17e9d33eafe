"""Rounds of an objective beside STvM, known from its settings without loading torch."""

from collections.abc import Iterable, Mapping
from typing import Any

from stvm.errors import StvmError
from stvm.settings.peers import fields_of
from stvm.settings.settings import Settings


def rounds_in(values: Mapping[str, Any]) -> int:
    """Number of rounds: the sum of the objective's settings that count some, 1 without any.

    Args:
        values: All settings of a trial by name.
    """
    counted = [name for name in fields_of(values["procedure"]) if name.endswith("rounds")]
    return sum(values[name] for name in counted) or 1


def refuse_more_rounds(procedure: str, rounds: int, iterations: int) -> None:
    """Refuse more rounds than iterations.

    Raises:
        StvmError: There are more.
    """
    if rounds > iterations:
        raise StvmError(
            f"iterations={iterations}: procedure={procedure} has {rounds} rounds of at least one "
            f"iteration each: raise iterations, or lower {procedure}_rounds"
        )


def refuse_short_trials(trials: Iterable[Settings]) -> None:
    """Refuse trials with fewer iterations than rounds, before anything is trained.

    Raises:
        StvmError: There is such a trial.
    """
    for values in (settings.flat() for settings in trials):
        refuse_more_rounds(values["procedure"], rounds_in(values), values["iterations"])
