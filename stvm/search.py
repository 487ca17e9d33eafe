"""A search of settings by Optuna's ask and tell; its storage is the only memory.

Nothing here knows Ray. A trial that a dead driver left RUNNING is continued under its number, a
suggestion that is recorded is told from its record, and trouble with the machine is told nothing.
"""

import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from stvm.errors import StvmError
from stvm.objectives import Objective
from stvm.records import Results
from stvm.search_space import Parameter, Values, default_values, search_split, words
from stvm.search_storage import STEPS, make_pruner, make_sampler, open_study, storage_faults
from stvm.settings import Settings, digest
from stvm.study import Trial

MOST_STRIKES = 3
"""Errors in a row, none of them a result, after which nothing more is started."""


@dataclass(frozen=True)
class Plan:
    """What is searched, by what.

    Attributes:
        preset: name of the preset it started from.
        base: settings before the search; with them the default is reported.
        parameters: searched.
        objective: to choose by.
        sampler: name.
        sampler_seed: seed of the suggestions.
        pruner: name.
        seed: of every search trial; none of the report's.
        realisation: of the embedded benchmark, searched on.
        tuned: this realisation's labels were looked at before.
        given_name: of the study; empty derives one.
    """

    preset: str
    base: Settings
    parameters: tuple[Parameter, ...]
    objective: Objective
    sampler: str
    sampler_seed: int
    pruner: str
    seed: int
    realisation: int
    tuned: bool
    given_name: str = ""

    def identity(self) -> dict[str, Any]:
        """What must be equal for two trials to belong to one search."""
        return {
            "base": digest({k: v for k, v in self.base.flat().items() if k != "workers"}),
            "objective": self.objective.name,
            "parameters": {p.name: p.as_dict() for p in self.parameters},
            "sampler": self.sampler,
            "sampler_seed": self.sampler_seed,
            "pruner": self.pruner,
            "search_seed": self.seed,
            "realisation": self.realisation,
            "split": search_split(self.base),
        }

    @property
    def hash(self) -> str:
        """Name of the search among others."""
        return digest(self.identity() | {"name": self.given_name})

    @property
    def name(self) -> str:
        """Of the study in Optuna's storage."""
        return self.given_name or f"{self.preset}-{self.objective.name}-{self.hash}"

    def settings(self, values: Values) -> Settings:
        """Of a search trial."""
        return self.base.replace(
            realisation=self.realisation,
            source_seed=self.base.source.source_seed + self.realisation,
            seed=self.seed,
            eval_split=search_split(self.base),
            **values,
        )

    def trial(self, number: int, values: Values) -> Trial:
        """The search trial of this number."""
        row = f"trial {number}"
        return Trial(row, self.seed, self.realisation, self.tuned, self.settings(values))


@dataclass(frozen=True)
class Suggestion:
    """Values to try.

    Attributes:
        number: of Optuna's trial.
        values: rounded.
        trial: as every study has them.
    """

    number: int
    values: Values
    trial: Trial

    @property
    def label(self) -> str:
        """For people."""
        return f"trial {self.number}: {words(self.values)}"


Told = Callable[[Suggestion, str], None]
"""Called for a suggestion that is told without a run, with what is known of it."""


class Search:
    """Suggestions until enough trials are finished.

    Args:
        plan: what is searched.
        storage: Optuna's.
        place: the storage as people may see it.
        results: records.
        trials: finished trials wanted, with those of earlier runs.
        told: hears of suggestions that need no run.

    Raises:
        StvmError: the storage fails, or holds another search under this name.
    """

    def __init__(
        self,
        plan: Plan,
        storage: BaseStorage,
        place: str,
        results: Results,
        trials: int,
        told: Told = lambda suggestion, news: None,
    ) -> None:
        self.plan, self.storage, self.place = plan, storage, place
        self.results, self.wanted, self.told = results, trials, told
        self.live: dict[str, list[Suggestion]] = {}
        self.strikes = 0
        with storage_faults(place):
            maximise = plan.objective.higher_is_better
            self.study = open_study(storage, plan.name, plan.identity(), maximise)
            self.study.pruner = make_pruner(plan.pruner)
            self.left_running = deque(self._in_state(TrialState.RUNNING))
            self._queue_first()

    def next(self) -> Suggestion | None:
        """What to run now; None when nothing more is to be started.

        Suggestions that are recorded, pruned earlier or under way are dealt with on the spot.
        """
        with storage_faults(self.place):
            while (suggestion := self._continued() or self._asked()) is not None:
                if suggestion.trial.hash in self.live:
                    self.live[suggestion.trial.hash].append(suggestion)
                elif self.results.read(suggestion.trial.hash):
                    self.told(suggestion, self._tell(suggestion))
                elif suggestion.trial.hash in self._pruned():
                    self._tell_pruned(suggestion)
                    self.told(suggestion, "pruned before")
                else:
                    self.live[suggestion.trial.hash] = [suggestion]
                    return suggestion
        return None

    def report(
        self, suggestion: Suggestion, iteration: int, of: int, intermediate: float | None
    ) -> bool:
        """Tell a label-free value of a running trial; whether to stop the trial.

        Args:
            suggestion: that runs.
            iteration: iterations done.
            of: iterations in all.
            intermediate: higher is better, whatever the direction of the objective.
        """
        step = STEPS * iteration // of
        if intermediate is None or not math.isfinite(intermediate) or not 0 < step < STEPS:
            return False
        with storage_faults(self.place):
            number = self._id(suggestion.number)
            if step in self.storage.get_trial(number).intermediate_values:
                return False
            signed = intermediate if self.plan.objective.higher_is_better else -intermediate
            self.storage.set_trial_intermediate_value(number, step, signed)
            return self.study.pruner.prune(self.study, self.storage.get_trial(number))

    def finish(self, suggestion: Suggestion, pruned: bool = False) -> str:
        """Take note that a trial has ended; what is known of it.

        Its record is its result. Without one, and unless it was pruned, it is told nothing: it
        stays RUNNING in the storage and the next run continues it.
        """
        same = self.live.pop(suggestion.trial.hash, [suggestion])
        with storage_faults(self.place):
            if self.results.read(suggestion.trial.hash):
                self.strikes = 0
                news = [self._tell(one) for one in same][0]
            elif pruned:
                self.strikes = 0
                for one in same:
                    self._tell_pruned(one)
                news = "pruned"
            else:
                self.strikes += 1
                return "no result"
        for one in same[1:]:
            self.told(one, news)
        return news

    def counts(self) -> dict[str, int]:
        """How many trials are in each of Optuna's states that occurs."""
        with storage_faults(self.place):
            return dict(Counter(t.state.name for t in self.study.get_trials(deepcopy=False)))

    def finished(self) -> int:
        """Trials that are COMPLETE, PRUNED or FAIL."""
        return sum(self.counts().get(state, 0) for state in ("COMPLETE", "PRUNED", "FAIL"))

    def left(self) -> int:
        """Trials to finish: those wanted, and those a dead driver left running."""
        return max(self.wanted - self.finished(), self.counts().get("RUNNING", 0))

    def _queue_first(self) -> None:
        """The default, and for the sampler `grid` every point of it in a drawn order."""
        default = default_values(self.plan.parameters, self.plan.base)
        points = []
        if all(p.holds(default[p.name]) for p in self.plan.parameters):
            points.append(default)
        if self.plan.sampler == "grid":
            axes = [[(p.name, value) for value in p.grid] for p in self.plan.parameters]
            cells = [dict(cell) for cell in product(*axes)]
            random.Random(self.plan.sampler_seed).shuffle(cells)
            points += [cell for cell in cells if cell != default]
            self.wanted = min(self.wanted, len(points))
        for point in points[: self.wanted]:
            self.study.enqueue_trial(point, skip_if_exists=True)

    def _continued(self) -> Suggestion | None:
        return self._suggestion(self.left_running.popleft()) if self.left_running else None

    def _asked(self) -> Suggestion | None:
        trials = self.study.get_trials(deepcopy=False)
        begun = sum(t.state != TrialState.WAITING for t in trials)
        if begun >= self.wanted or self.strikes >= MOST_STRIKES:
            return None
        plan = self.plan
        self.study.sampler = make_sampler(plan.sampler, plan.sampler_seed, len(trials))
        return self._suggestion(self.study.ask(self._space()).number)

    def _suggestion(self, number: int) -> Suggestion:
        """Rounded values of a trial; those a killed driver had not drawn are drawn now."""
        frozen = self.storage.get_trial(self._id(number))
        missing = [name for name in self._space() if name not in frozen.params]
        if missing:
            plan = self.plan
            self.study.sampler = make_sampler(plan.sampler, plan.sampler_seed, number)
            trial = optuna.trial.Trial(self.study, self._id(number))
            for name, distribution in self._space().items():
                trial._suggest(name, distribution)
            frozen = self.storage.get_trial(self._id(number))
        values = {p.name: p.rounded(frozen.params[p.name]) for p in self.plan.parameters}
        suggestion = Suggestion(number, values, self.plan.trial(number, values))
        self._attribute(number, "hash", suggestion.trial.hash)
        self._attribute(number, "settings", values)
        return suggestion

    def _tell(self, suggestion: Suggestion) -> str:
        """Tell a trial's record to the study; the words for it."""
        record = self.results.read(suggestion.trial.hash)
        assert record is not None
        value, news = judged(record, self.plan.objective)
        if value is None:
            self._attribute(suggestion.number, "reason", news)
            self.study.tell(suggestion.number, state=TrialState.FAIL)
        else:
            self.study.tell(suggestion.number, value)
        return news

    def _tell_pruned(self, suggestion: Suggestion) -> None:
        self.study.tell(suggestion.number, state=TrialState.PRUNED)

    def _pruned(self) -> set[str]:
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
        return {t.user_attrs["hash"] for t in trials if "hash" in t.user_attrs}

    def _in_state(self, state: TrialState) -> Iterator[int]:
        return (t.number for t in self.study.get_trials(deepcopy=False, states=(state,)))

    def _space(self) -> dict[str, optuna.distributions.BaseDistribution]:
        return {p.name: p.distribution for p in self.plan.parameters}

    def _id(self, number: int) -> int:
        study = self.storage.get_study_id_from_name(self.plan.name)
        return self.storage.get_trial_id_from_study_id_trial_number(study, number)

    def _attribute(self, number: int, key: str, value: Any) -> None:
        self.storage.set_trial_user_attr(self._id(number), key, value)


def judged(record: dict[str, Any], objective: Objective) -> tuple[float | None, str]:
    """A record's value by an objective, and the words for it; None where it has no value."""
    if record["status"] == "failed":
        return None, f"failed: {record['failure']['error']}"
    value = objective.value(record["result"])
    if value is None or not math.isfinite(value):
        return None, f"failed: its record has no {objective.label}"
    return value, f"{objective.label} {shown(value, objective)}"


def shown(value: float, objective: Objective) -> str:
    """A value for people: mIoU in per cent, else four digits."""
    return f"{100 * value:.1f}" if objective.oracle else f"{value:.4g}"


def best_trial(study: optuna.Study) -> FrozenTrial:
    """The best finished trial by the objective.

    Raises:
        StvmError: no trial has a value.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if complete:
        return study.best_trial
    trials = study.get_trials(deepcopy=False)
    reasons = [t.user_attrs["reason"] for t in trials if "reason" in t.user_attrs]
    last = f", the last one {reasons[-1]}" if reasons else ""
    raise StvmError(
        f"none of {len(trials)} trials has a value{last}: there is no best setting, "
        "change the settings that are not searched"
    )
