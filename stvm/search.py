"""A search of settings by Optuna's ask and tell; its storage is the only memory.

Nothing here knows Ray. A trial that a dead driver left RUNNING is continued under its number, a
suggestion that is recorded is told from its record, and trouble with the machine is told nothing.
"""

import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from stvm.records import Results
from stvm.search_plan import Plan, Suggestion, judged
from stvm.search_space import default_values
from stvm.search_storage import (
    STEPS,
    make_pruner,
    make_sampler,
    open_study,
    results_id,
    storage_faults,
)

MOST_STRIKES = 3
"""Errors in a row, none of them a result, after which nothing more is started."""
MOST_ATTEMPTS = 3
"""Runs of one trial without result after which it is told FAIL."""
_ATTEMPTS, _AGAIN = "attempts", "again"

Told = Callable[[Suggestion, str, TrialState], None]
"""Called for a suggestion that is told without a run, with what is known of it and its state."""


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
        StvmError: the storage fails, or holds another search or another folder's under this name.
    """

    def __init__(
        self,
        plan: Plan,
        storage: BaseStorage,
        place: str,
        results: Results,
        trials: int,
        told: Told = lambda suggestion, news, state: None,
    ) -> None:
        self.plan, self.storage, self.place = plan, storage, place
        self.results, self.wanted, self.told = results, trials, told
        self.live: dict[str, list[Suggestion]] = {}
        self.strikes = 0
        owner = results_id(results)
        with storage_faults(place):
            maximise = plan.objective.higher_is_better
            self.study = open_study(storage, plan.name, plan.identity(), maximise, owner)
            self.study.pruner = make_pruner(plan.pruner)
            self.study_id = storage.get_study_id_from_name(plan.name)
            self.left_running = deque(self._in_state(TrialState.RUNNING))
            self._queue_first()
            self._tell_again()

    def next(self) -> Suggestion | None:
        """What to run now; None when nothing more is to be started.

        Suggestions that are recorded, pruned earlier or under way are dealt with on the spot.
        """
        with storage_faults(self.place):
            while (suggestion := self._continued() or self._asked()) is not None:
                if suggestion.trial.hash in self.live:
                    self.live[suggestion.trial.hash].append(suggestion)
                elif self.results.read(suggestion.trial.hash):
                    self.told(suggestion, *self._tell(suggestion))
                elif suggestion.trial.hash in self._pruned():
                    self._tell_pruned(suggestion)
                    self.told(suggestion, "pruned before", TrialState.PRUNED)
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
        stays RUNNING in the storage and the next run continues it, until `MOST_ATTEMPTS` have
        come to nothing.
        """
        same = self.live.pop(suggestion.trial.hash, [suggestion])
        with storage_faults(self.place):
            if self.results.read(suggestion.trial.hash):
                self.strikes = 0
                news, state = [self._tell(one) for one in same][0]
            elif pruned:
                self.strikes = 0
                for one in same:
                    self._tell_pruned(one)
                news, state = "pruned", TrialState.PRUNED
            elif self._attempt(suggestion) < MOST_ATTEMPTS:
                self.strikes += 1
                return "no result"
            else:
                news, state = self._reason(suggestion), TrialState.FAIL
                for one in same:
                    self._tell_failed(one.number, news)
        for one in same[1:]:
            self.told(one, news, state)
        return news

    def counts(self) -> dict[str, int]:
        """How many trials are in each of Optuna's states that occurs."""
        with storage_faults(self.place):
            return dict(Counter(t.state.name for t in self.study.get_trials(deepcopy=False)))

    def finished(self) -> int:
        """Trials that are COMPLETE, PRUNED or FAIL, each once."""
        ended = sum(self.counts().get(state, 0) for state in ("COMPLETE", "PRUNED", "FAIL"))
        with storage_faults(self.place):
            return ended - len(self._told_again())

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
        if not self.left_running or self.strikes >= MOST_STRIKES:
            return None
        return self._suggestion(self.left_running.popleft())

    def _asked(self) -> Suggestion | None:
        trials = self.study.get_trials(deepcopy=False)
        begun = sum(t.state != TrialState.WAITING for t in trials) - len(self._told_again())
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

    def _tell(self, suggestion: Suggestion) -> tuple[str, TrialState]:
        """Tell a trial's record to the study; the words for it and its state."""
        record = self.results.read(suggestion.trial.hash)
        assert record is not None
        value, news = judged(record, self.plan.objective)
        if value is None:
            self._tell_failed(suggestion.number, news)
            return news, TrialState.FAIL
        self.study.tell(suggestion.number, value)
        return news, TrialState.COMPLETE

    def _tell_failed(self, number: int, reason: str) -> None:
        self._attribute(number, "reason", reason)
        self.study.tell(number, state=TrialState.FAIL)

    def _attempt(self, suggestion: Suggestion) -> int:
        """One run without result more; how many there are."""
        frozen = self.storage.get_trial(self._id(suggestion.number))
        attempts = int(frozen.user_attrs.get(_ATTEMPTS, 0)) + 1
        self._attribute(suggestion.number, _ATTEMPTS, attempts)
        return attempts

    def _reason(self, suggestion: Suggestion) -> str:
        """Why a trial is given up: the last line of its traceback, if there is one."""
        last = self.results.last_error(suggestion.trial.hash)
        return f"failed: no result in {MOST_ATTEMPTS} attempts" + (f": {last}" if last else "")

    def _tell_again(self) -> None:
        """Add what failed and has a result by now: Optuna never changes a trial that has ended."""
        before = self._told_again()
        for t in self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
            record = self.results.read(t.user_attrs.get("hash", ""))
            if t.number in before or record is None:
                continue
            value, _ = judged(record, self.plan.objective)
            if value is None:
                continue
            known = {key: t.user_attrs[key] for key in ("hash", "settings")}
            self.study.add_trial(
                optuna.trial.create_trial(
                    params=t.params,
                    distributions=t.distributions,
                    value=value,
                    user_attrs=known | {_AGAIN: t.number},
                )
            )

    def _told_again(self) -> set[int]:
        """Numbers of FAIL trials whose result stands under another number."""
        trials = self.study.get_trials(deepcopy=False)
        return {t.user_attrs[_AGAIN] for t in trials if _AGAIN in t.user_attrs}

    def _tell_pruned(self, suggestion: Suggestion) -> None:
        self.study.tell(suggestion.number, state=TrialState.PRUNED)
        self.results.state_path(suggestion.trial.hash).unlink(missing_ok=True)

    def _pruned(self) -> set[str]:
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
        return {t.user_attrs["hash"] for t in trials if "hash" in t.user_attrs}

    def _in_state(self, state: TrialState) -> Iterator[int]:
        return (t.number for t in self.study.get_trials(deepcopy=False, states=(state,)))

    def _space(self) -> dict[str, optuna.distributions.BaseDistribution]:
        return {p.name: p.distribution for p in self.plan.parameters}

    def _id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)

    def _attribute(self, number: int, key: str, value: Any) -> None:
        self.storage.set_trial_user_attr(self._id(number), key, value)
