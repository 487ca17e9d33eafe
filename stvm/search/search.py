"""A search of settings by Optuna's ask and tell; its storage is the only memory.

Ray is not used here. A trial that a dead driver left RUNNING is continued under its number. A
suggestion that is recorded gets the value in its record. Trouble with the machine gives no value.
Several drivers may share a search: they take turns at the storage, and a trial names its driver.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from stvm.files import drop_state
from stvm.files.locks import is_held
from stvm.records.passed_over import going_on
from stvm.records.results import Results
from stvm.search.drivers import DRIVER, Drivers
from stvm.search.plan import Plan, Suggestion, first_points, score_value
from stvm.search.retried_trials import tell_again, told_again
from stvm.search.storage import (
    STEPS,
    make_pruner,
    make_sampler,
    open_study,
    results_id,
    storage_faults,
)
from stvm.search.stored_trials import StoredTrials

MOST_STRIKES = 3
"""Errors in a row, none of them a result, after which nothing more is started."""
MOST_ATTEMPTS = 3
"""Runs of one trial without result after which it is told FAIL."""
_ATTEMPTS = "attempts"

Told = Callable[[Suggestion, str, TrialState], None]
"""Called for a suggestion that needs no run, with a text about it and its state."""


class Search(StoredTrials):
    """Suggestions until enough trials are finished.

    Args:
        plan: plan of the search.
        storage: Optuna's.
        place: the storage as people may see it.
        results: folder of the records.
        trials: number of finished trials wanted, with those of earlier runs.
        told: callback that hears of suggestions that need no run.
        drivers: drivers that work on the search; None for this one alone.

    Attributes:
        unread: a line for each record that cannot be read.

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
        drivers: Drivers | None = None,
    ) -> None:
        self.plan, self.storage, self.place = plan, storage, place
        self.results, self.wanted, self.told = results, trials, told
        self.drivers = drivers or Drivers(results, plan.name)
        self.live: dict[str, list[Suggestion]] = {}
        self.mine: set[int] = set()
        self.elsewhere: list[Suggestion] = []
        self.strikes = 0
        self.unread: list[str] = []
        owner = results_id(results)
        with self._turn():
            maximise = plan.score.higher_is_better
            self.study = open_study(storage, plan.name, plan.identity(), maximise, owner)
            self.study.pruner = make_pruner(plan.pruner)
            self.study_id = storage.get_study_id_from_name(plan.name)
            points = first_points(plan)
            if plan.sampler == "grid":
                self.wanted = min(self.wanted, len(points))
            for point in points[: self.wanted]:
                self.study.enqueue_trial(point, skip_if_exists=True)
            tell_again(self.study, self.results, self.plan.score, self.unread)

    def next(self) -> Suggestion | None:
        """The next suggestion to run; None when nothing more is to be started.

        Suggestions that are recorded, pruned earlier or under way are dealt with on the spot.
        What another driver or study runs with equal settings is looked at again later. A suggestion
        whose record cannot be read is passed over: it stays RUNNING for the next run.
        """
        with self._turn():
            later, self.elsewhere = self.elsewhere, []
            while suggestion := later.pop(0) if later else self._continued() or self._asked():
                recorded = self._recorded(suggestion)
                if suggestion.trial.hash in self.live:
                    self.live[suggestion.trial.hash].append(suggestion)
                elif recorded is None:
                    continue
                elif recorded:
                    self.told(suggestion, *self._tell(suggestion))
                elif is_held(self.results.lock_path(suggestion.trial.hash)):
                    # Before the next case, which drops the state: another study may need it.
                    self.elsewhere.append(suggestion)
                elif suggestion.trial.hash in self.pruned():
                    self._tell_pruned(suggestion)
                    self.told(suggestion, "pruned before", TrialState.PRUNED)
                else:
                    self.live[suggestion.trial.hash] = [suggestion]
                    self.elsewhere += later
                    return suggestion
        return None

    def others(self) -> list[str]:
        """Labels of trials of others that this driver waits for; empty once it need not wait."""
        if self.strikes >= MOST_STRIKES:
            return []
        with storage_faults(self.place):
            running = [t.number for t in self.in_state(TrialState.RUNNING) if self._others(t)]
        numbers = sorted({*running, *(suggestion.number for suggestion in self.elsewhere)})
        return [f"trial {number}" for number in numbers]

    def report(
        self, suggestion: Suggestion, iteration: int, of: int, intermediate: float | None
    ) -> bool:
        """Tell a label-free value of a running trial; whether to stop the trial.

        Args:
            suggestion: suggestion that runs.
            iteration: iterations done.
            of: iterations in all.
            intermediate: higher is better, whatever the direction of the score.
        """
        step = STEPS * iteration // of
        if intermediate is None or not math.isfinite(intermediate) or not 0 < step < STEPS:
            return False
        with self._turn():
            number = self.trial_id(suggestion.number)
            if step in self.storage.get_trial(number).intermediate_values:
                return False
            signed = intermediate if self.plan.score.higher_is_better else -intermediate
            self.storage.set_trial_intermediate_value(number, step, signed)
            return self.study.pruner.prune(self.study, self.storage.get_trial(number))

    def finish(self, suggestion: Suggestion, pruned: bool = False) -> str:
        """Tell Optuna that a trial has ended; returns a text about it.

        Its record is its result. Without one, and unless it was pruned, it is told nothing: it
        stays RUNNING in the storage and the next run continues it, until `MOST_ATTEMPTS` have
        come to nothing.
        """
        same = self.live.pop(suggestion.trial.hash, [suggestion])
        with self._turn():
            recorded = self._recorded(suggestion)
            if recorded is None:
                return "its record cannot be read"
            if recorded:
                self.strikes = 0
                news, state = [self._tell(one) for one in same][0]
            elif pruned:
                self.strikes = 0
                for one in same:
                    self._tell_pruned(one)
                news, state = "pruned", TrialState.PRUNED
            elif self.count_up(suggestion.number, _ATTEMPTS) < MOST_ATTEMPTS:
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
        """Number of trials in each of Optuna's states that occurs."""
        with storage_faults(self.place):
            return dict(Counter(t.state.name for t in self.study.get_trials(deepcopy=False)))

    def finished(self) -> int:
        """Trials that are COMPLETE, PRUNED or FAIL, each once."""
        ended = sum(self.counts().get(state, 0) for state in ("COMPLETE", "PRUNED", "FAIL"))
        with storage_faults(self.place):
            return ended - len(told_again(self.study))

    def left(self) -> int:
        """Trials to finish: those wanted, and those a dead driver left running."""
        return max(self.wanted - self.finished(), self.counts().get("RUNNING", 0))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with storage_faults(self.place), self.drivers.turn():
            yield

    def _others(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Another driver that lives has this trial."""
        return self.drivers.lives(str(trial.user_attrs.get(DRIVER, "")))

    def _continued(self) -> Suggestion | None:
        """A trial that was running when its driver ended."""
        if self.strikes >= MOST_STRIKES:
            return None
        for trial in self.in_state(TrialState.RUNNING):
            if trial.number not in self.mine and not self._others(trial):
                return self._suggestion(trial.number)
        return None

    def _asked(self) -> Suggestion | None:
        trials = self.study.get_trials(deepcopy=False)
        begun = sum(t.state != TrialState.WAITING for t in trials) - len(told_again(self.study))
        if begun >= self.wanted or self.strikes >= MOST_STRIKES:
            return None
        plan = self.plan
        self.study.sampler = make_sampler(plan.sampler, plan.sampler_seed, len(trials))
        return self._suggestion(self.study.ask(self._space()).number)

    def _suggestion(self, number: int) -> Suggestion:
        """Rounded values of a trial; those a killed driver had not drawn are drawn now."""
        self.mine.add(number)
        self.attribute(number, DRIVER, self.drivers.me)
        frozen = self.storage.get_trial(self.trial_id(number))
        missing = [name for name in self._space() if name not in frozen.params]
        if missing:
            plan = self.plan
            self.study.sampler = make_sampler(plan.sampler, plan.sampler_seed, number)
            trial = optuna.trial.Trial(self.study, self.trial_id(number))
            for name, distribution in self._space().items():
                trial._suggest(name, distribution)
            frozen = self.storage.get_trial(self.trial_id(number))
        values = {p.name: p.rounded(frozen.params[p.name]) for p in self.plan.parameters}
        suggestion = Suggestion(number, values, self.plan.trial(number, values))
        self.attribute(number, "hash", suggestion.trial.hash)
        self.attribute(number, "settings", values)
        return suggestion

    def _recorded(self, suggestion: Suggestion) -> bool | None:
        """Whether a suggestion has a record; None, with a line in `unread`, if it is unreadable."""
        with going_on(self.unread):
            return self.results.read(suggestion.trial.hash) is not None
        return None

    def _tell(self, suggestion: Suggestion) -> tuple[str, TrialState]:
        """Tell a trial's record to the study; the words for it and its state."""
        record = self.results.read(suggestion.trial.hash)
        assert record is not None
        value, news = score_value(record, self.plan.score)
        if value is None:
            self._tell_failed(suggestion.number, news)
            return news, TrialState.FAIL
        self.study.tell(suggestion.number, value)
        return news, TrialState.COMPLETE

    def _tell_failed(self, number: int, reason: str) -> None:
        self.attribute(number, "reason", reason)
        self.study.tell(number, state=TrialState.FAIL)

    def _reason(self, suggestion: Suggestion) -> str:
        """Why a trial is given up: the last line of its traceback, if there is one."""
        last = self.results.last_error(suggestion.trial.hash)
        return f"failed: no result in {MOST_ATTEMPTS} attempts" + (f": {last}" if last else "")

    def _tell_pruned(self, suggestion: Suggestion) -> None:
        self.study.tell(suggestion.number, state=TrialState.PRUNED)
        drop_state(self.results.state_path(suggestion.trial.hash))

    def _space(self) -> dict[str, optuna.distributions.BaseDistribution]:
        return {p.name: p.distribution for p in self.plan.parameters}
