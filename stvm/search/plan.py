"""The plan of a search as a value: its settings, its name, and the value of a record."""

import math
import random
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from stvm.errors import StvmError
from stvm.records.record import Record
from stvm.records.selection_scores import SelectionScore
from stvm.search.space import Parameter, Values, default_values, format_assignments, search_split
from stvm.settings import Settings, digest
from stvm.study import Rename, Trial


def as_they_are(settings: Settings) -> Settings:
    """The same settings, for trials whose names do not depend on files."""
    return settings


@dataclass(frozen=True)
class Plan:
    """A search: its settings, its score and its method.

    Attributes:
        preset: name of the preset it started from.
        base: settings before the search; with them the default is reported.
        parameters: settings that are searched.
        score: score to choose by, the objective of Optuna's study.
        sampler: name of the sampler.
        sampler_seed: seed of the suggestions.
        pruner: name.
        seed: seed of every search trial, which is none of the report's.
        realisation: draw of the embedded benchmark for the search trials.
        tuned: this realisation's labels were looked at before the search.
        given_name: name of the study; if empty, one is derived.
        rename: gives settings of a trial those whose hash is its name.
    """

    preset: str
    base: Settings
    parameters: tuple[Parameter, ...]
    score: SelectionScore
    sampler: str
    sampler_seed: int
    pruner: str
    seed: int
    realisation: int
    tuned: bool
    given_name: str = ""
    rename: Rename = field(default=as_they_are, compare=False, repr=False)

    def identity(self) -> dict[str, Any]:
        """Values that must be equal for two trials to belong to one search."""
        settings = self.base.naming()
        return {
            "settings": settings,
            "base": digest(settings),
            "objective": self.score.name,
            "parameters": {p.name: p.as_dict() for p in self.parameters},
            "sampler": self.sampler,
            "sampler_seed": self.sampler_seed,
            "pruner": self.pruner,
            "search_seed": self.seed,
            "realisation": self.realisation,
            "split": search_split(self.base),
        }

    def looked_at(self, realisation: int) -> bool:
        """Whether the search itself looks at target labels of this realisation."""
        return self.score.oracle and realisation == self.realisation

    @property
    def same_split(self) -> bool:
        """Search trials are measured on the split of the report."""
        return search_split(self.base) == self.base.training.eval_split

    @property
    def hash(self) -> str:
        """Name of the search among others."""
        return digest(self.identity() | {"name": self.given_name})

    @property
    def name(self) -> str:
        """Name of the study in Optuna's storage."""
        return self.given_name or f"{self.preset}-{self.score.name}-{self.hash}"

    def settings(self, values: Values) -> Settings:
        """Settings of a search trial."""
        here = self.base.on_realisation(self.realisation)
        split = search_split(self.base)
        return self.rename(here.replace(seed=self.seed, eval_split=split, **values))

    def trial(self, number: int, values: Values) -> Trial:
        """The search trial of this number."""
        row = f"trial {number}"
        tuned = self.tuned or self.looked_at(self.realisation)
        return Trial(row, self.seed, self.realisation, tuned, self.settings(values))


@dataclass(frozen=True)
class Suggestion:
    """Values to try.

    Attributes:
        number: number of Optuna's trial.
        values: rounded.
        trial: trial as in every study.
    """

    number: int
    values: Values
    trial: Trial

    @property
    def label(self) -> str:
        """The suggestion's label for people."""
        return f"trial {self.number}: {format_assignments(self.values)}"


def score_value(record: Record, score: SelectionScore) -> tuple[float | None, str]:
    """A record's value by a score, or None, and a text that names it or says why not."""
    if not record.is_done:
        return None, f"failed: {record.reason}"
    value = score.value(record)
    if value is None or not math.isfinite(value):
        return None, f"failed: its record has no {score.label}"
    return value, f"{score.label} {format_value(value, score)}"


def format_value(value: float, score: SelectionScore) -> str:
    """A value for people: mIoU in per cent, else four digits."""
    return f"{100 * value:.1f}" if score.oracle else f"{value:.4g}"


class NoBest(StvmError):
    """No trial of a search has a value."""


def best_trial(study: optuna.Study) -> FrozenTrial:
    """The best finished trial by the score.

    Raises:
        NoBest: no trial has a value.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if complete:
        return study.best_trial
    trials = study.get_trials(deepcopy=False)
    reasons = [t.user_attrs["reason"] for t in trials if "reason" in t.user_attrs]
    last = f", the last one {reasons[-1]}" if reasons else ""
    raise NoBest(
        f"none of {len(trials)} trials has a value{last}: there is no best setting, "
        "change the settings that are not searched"
    )


def first_points(plan: Plan) -> list[Values]:
    """The default, and for the sampler `grid` every point of it in a drawn order."""
    default = default_values(plan.parameters, plan.base)
    points: list[Values] = []
    if all(p.holds(default[p.name]) for p in plan.parameters):
        points.append(default)
    if plan.sampler == "grid":
        axes = [[(p.name, value) for value in p.grid] for p in plan.parameters]
        cells = [dict(cell) for cell in product(*axes)]
        random.Random(plan.sampler_seed).shuffle(cells)
        points += [cell for cell in cells if cell != default]
    return points
