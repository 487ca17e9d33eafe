"""Ray Tune as the executor of a search: one trial a slot, asked for when the slot is free."""

import time
from typing import Any

from optuna.trial import TrialState
from ray import tune
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from stvm.errors import StvmError
from stvm.records.passed_over import going_on
from stvm.records.results import Results
from stvm.records.tensorboard_events import require_tensorboard
from stvm.search.plan import Suggestion, score_value
from stvm.search.search import Search
from stvm.tune.cluster import connected
from stvm.tune.confirmations import refuse_random_source
from stvm.tune.options import RunOptions
from stvm.tune.progress import LineProgress, TableProgress, on_terminal
from stvm.tune.run_study import RunResult, check_files, prepare_slots, show_cpu
from stvm.tune.sharing import LOOK_EVERY_S
from stvm.tune.slots import Slots
from stvm.tune.tasks import (
    interruptible,
    missing_sources,
    run_task,
    run_tasks,
    task_of,
    temporary_run_config,
)


def run_search(search: Search, results: Results, run_options: RunOptions) -> RunResult:
    """Carry out a search, its source model first; without a trial to run Ray is not started.

    Args:
        search: opened.
        results: folder of the records.
        run_options: resources and permissions of a trial.

    Raises:
        StvmError: an input is missing, no trial fits the machine, or the storage fails.
        Interrupted: Ctrl-C or a request to terminate.
    """
    if run_options.tensorboard:
        require_tensorboard()
    with interruptible(results):
        first = _first(search)
        if first is None:
            return RunResult(())
        settings = first.trial.settings
        refuse_random_source([settings], run_options.cache, run_options.from_scratch)
        check_files([first.trial], run_options.cache)
        with connected(run_options) as nodes:
            slots = prepare_slots(run_options, nodes, results)
            if not slots.gpus:
                show_cpu([first.trial], run_options)
            sources = missing_sources([first.trial], run_options.cache)
            errors: tuple[str, ...] = ()
            if sources:
                errors = run_tasks("source", sources, results, run_options, slots, False)
            return RunResult(errors or _fit(search, first, results, run_options, slots))


def _first(search: Search) -> Suggestion | None:
    """The first trial to run here; None once the search is over, others' trials included."""
    shown = LineProgress(0, 1, "trials")
    while (suggestion := search.next()) is None and (others := search.others()):
        shown.waiting([(label, "") for label in others])
        time.sleep(LOOK_EVERY_S)
    return suggestion


def _fit(
    search: Search, first: Suggestion, results: Results, run_options: RunOptions, slots: Slots
) -> tuple[str, ...]:
    left = search.left()
    at_once = min(slots.count, left)
    print(f"{left} trial{'s' * (left > 1)}, {at_once} at a time", flush=True)
    shown = (SearchTable if on_terminal() else SearchLines)(left, at_once, "trials")
    extras = {
        "report_every": shown.report_every,
        "prunes": search.plan.pruner != "none",
    }
    asker = OptunaSearcher(search, first, results, run_options, slots, at_once, extras, shown)
    shown.watch(asker)
    with shown, temporary_run_config(shown, "search") as run_config:
        run_config.stop = PrunerStopper(asker)
        tune.Tuner(
            tune.with_resources(run_task, {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=asker, num_samples=-1, reuse_actors=slots.gpus == 0
            ),
            run_config=run_config,
        ).fit()
    if asker.fault:
        raise asker.fault
    return tuple(shown.errors)


class OptunaSearcher(Searcher):
    """Tune's view of a search.

    Tune asks for one trial more than it can run. For that trial the sampler would not know the
    results of the running ones. So nothing is suggested before a slot is free.
    """

    def __init__(
        self,
        search: Search,
        first: Suggestion,
        results: Results,
        run_options: RunOptions,
        slots: Slots,
        at_once: int,
        extras: dict[str, Any],
        shown: LineProgress,
    ) -> None:
        super().__init__()
        self.shown = shown
        self.search, self.results, self.run_options = search, results, run_options
        self.slots, self.at_once, self.extras = slots, at_once, extras
        self.first: Suggestion | None = first
        self.running: dict[str, Suggestion] = {}
        self.pruned: set[str] = set()
        self.fault: StvmError | None = None
        self.not_before = 0.0

    def suggest(  # type: ignore[override]
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """The task of one trial; None while all slots are taken."""
        if len(self.running) >= self.at_once or time.monotonic() < self.not_before:
            return None
        suggestion, self.first = self.first, None
        others: list[str] = []
        try:
            if not (suggestion or self.fault):
                suggestion = self.search.next()
                others = [] if suggestion else self.search.others()
        except StvmError as fault:
            self.fault, suggestion = fault, None
        if suggestion is None and others:
            self.not_before = time.monotonic() + LOOK_EVERY_S
            if not self.running:
                self.shown.waiting([(label, "") for label in others])
            return None
        if suggestion is None:
            return Searcher.FINISHED
        self.running[trial_id] = suggestion
        task = task_of("trial", suggestion.trial, self.results, self.run_options, self.slots, False)
        return {"task": task | self.extras | {"label": suggestion.label}}

    def stops(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether a report of a running trial makes the pruner stop it."""
        if self.fault or not ("intermediate" in result and "of" in result):
            return False
        try:
            stop = self.search.report(
                self.running[trial_id], result["iteration"], result["of"], result["intermediate"]
            )
        except StvmError as fault:
            self.fault, stop = fault, False
        if stop:
            self.pruned.add(trial_id)
        return stop

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna the result in the trial's record."""
        suggestion = self.running.pop(trial_id)
        try:
            self.search.finish(suggestion, trial_id in self.pruned)
        except StvmError as fault:
            self.fault = self.fault or fault

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the storage is the memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the storage is the memory."""


class PrunerStopper(Stopper):
    """Stops the trials that the pruner gives up."""

    def __init__(self, asker: OptunaSearcher) -> None:
        self.asker = asker

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop this trial."""
        return self.asker.stops(trial_id, result)

    def stop_all(self) -> bool:
        """False: trials that run are finished."""
        return False


class SearchLines(LineProgress):
    """Lines of a search: the score's value where other studies show mIoU."""

    asker: OptunaSearcher

    def watch(self, asker: OptunaSearcher) -> None:
        """Show the trials of this searcher."""
        self.asker = asker
        asker.search.told = self.told

    def told(self, suggestion: Suggestion, news: str, state: TrialState) -> None:
        """A suggestion that needed no run."""
        self.done += state != TrialState.FAIL
        self.failed += state == TrialState.FAIL
        self.estimate.end("", time.monotonic(), counts=False)
        ended = self.done + self.failed
        self.say(f"[{ended}/{self.total}] {suggestion.label}  already known: {news}")

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial ended, or says how far it is."""
        name = trial.config["task"]["name"]
        record = None
        if result.get("status") == "done":
            with going_on(self.asker.search.unread):
                record = self.asker.results.read(name)
        if record is None:
            super().on_trial_result(iteration, trials, trial, result, **info)
            return
        value, news = score_value(record, self.asker.search.plan.score)
        self.done += value is not None
        self.failed += value is None
        self._ended(trial, news)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended; one that was pruned has no other line."""
        if trial.trial_id in self.asker.pruned:
            self.done += 1
            self._ended(trial, "pruned", counts=False)


class SearchTable(SearchLines, TableProgress):
    """The same above a live table."""
