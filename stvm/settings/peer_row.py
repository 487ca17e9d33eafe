"""The row of an objective beside STvM, of which `stvm.settings.peers` has one for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stvm.settings.fields import SettingsGroup

START = ("start_bn", "student_bn")


@dataclass(frozen=True)
class Peer:
    """An objective beside STvM.

    Attributes:
        about: Phrase that says what the objective does.
        objective: Its class in `stvm/objectives/`, as MODULE:CLASS.
        group: Its settings; the class takes them as keywords, without the procedure's name.
        trains: Parameters of the student that are trained; `student_bn` decides about batch norm.
        labels: Phrase that says which network makes its labels; empty without labels.
        offline: Phrase for its pass over all target images; empty without one.
        uses: Settings of method and training that matter to it, beside those of every training.
            With `aug` or `mt` among them, the user may turn that part on.
        brings: Values that `procedure=NAME` sets where the user gives none.
        decays: Whether the weight decay of the settings acts on what it trains.
        own_statistics: Networks of its own, for people, that take batch norm's statistics from the
            batch whatever `student_bn` says; empty without any.
        networks: Networks in memory beside source model and student: start, teacher, averages.
        needs_batch_norm: Whether it measures batch-norm statistics on the target images, so that a
            network without batch norm is refused.
        rows: Its rows in Table VIII by name, each with the settings that it changes; one row with
            the procedure's name if empty.
        rates: Learning rates from which `studies/objectives.py` chooses, as multiples of the rate
            that the trial has otherwise.
    """

    about: str
    objective: str
    group: type[SettingsGroup] | None = None
    trains: Literal["all", "batch_norm", "all_but_classifier"] = "all"
    labels: str = ""
    offline: str = ""
    uses: tuple[str, ...] = START
    brings: Mapping[str, Any] = field(default_factory=dict)
    decays: bool = True
    own_statistics: str = ""
    networks: int = 0
    needs_batch_norm: bool = False
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rates: tuple[float, ...] = (0.1, 0.3, 1.0)
