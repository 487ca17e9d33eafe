"""Ray Tune as the executor of a search: one trial a slot, asked for when the slot is free."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from stvm.errors import StvmError
from stvm.execute import (
    Finished,
    Machine,
    Slots,
    _cluster,
    _interruptible,
    _missing_sources,
    _run,
    _task,
    plan_slots,
)
from stvm.experiment import check_inputs
from stvm.progress import Lines
from stvm.records import Results
from stvm.search import Search, Suggestion, judged
from stvm.trainable import trainable


def run_search(search: Search, results: Results, machine: Machine) -> Finished:
    """Carry out a search, its source model first; without a trial to run Ray is not started.

    Args:
        search: opened.
        results: where records go.
        machine: what a trial may use.

    Raises:
        StvmError: an input is missing, no trial fits the machine, or the storage fails.
        Interrupted: Ctrl-C or a request to terminate.
    """
    with _interruptible():
        first = search.next()
        if first is None:
            return Finished(())
        check_inputs([first.trial.settings])
        with _cluster(machine) as nodes:
            slots = plan_slots(nodes, machine.cpus, machine.gpus)
            sources = _missing_sources([first.trial], machine.cache)
            errors: tuple[str, ...] = ()
            if sources:
                errors = _run("source", sources, results, machine, slots, False)
            return Finished(errors or _fit(search, first, results, machine, slots))


def _fit(
    search: Search, first: Suggestion, results: Results, machine: Machine, slots: Slots
) -> tuple[str, ...]:
    left = search.left()
    at_once = min(slots.count, left)
    print(f"{left} trials, {at_once} at a time", flush=True)
    asker = Asker(search, first, results, machine.cache, slots, at_once)
    lines = SearchLines(left, asker)
    storage = Path(tempfile.mkdtemp(prefix="stvm-tune-"))
    try:
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=asker, num_samples=-1, reuse_actors=slots.gpus == 0
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=str(storage),
                verbose=0,
                callbacks=[lines],
                stop=Pruning(asker),
            ),
        ).fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    if asker.fault:
        raise asker.fault
    return tuple(lines.errors)


class Asker(Searcher):
    """Tune's view of a search.

    Tune asks for one trial more than it can run; the sampler would then not see the results of
    those that run, so nothing is asked for before a slot is free.
    """

    def __init__(
        self,
        search: Search,
        first: Suggestion,
        results: Results,
        cache: Path,
        slots: Slots,
        at_once: int,
    ) -> None:
        super().__init__()
        self.search, self.results, self.cache = search, results, cache
        self.slots, self.at_once = slots, at_once
        self.first: Suggestion | None = first
        self.running: dict[str, Suggestion] = {}
        self.pruned: set[str] = set()
        self.fault: StvmError | None = None

    def suggest(  # type: ignore[override]
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """The task of one trial; None while all slots are taken."""
        if len(self.running) >= self.at_once:
            return None
        suggestion, self.first = self.first, None
        try:
            if not (suggestion or self.fault):
                suggestion = self.search.next()
        except StvmError as fault:
            self.fault, suggestion = fault, None
        if suggestion is None:
            return Searcher.FINISHED
        self.running[trial_id] = suggestion
        task = _task("trial", suggestion.trial, self.results, self.cache, self.slots, False)
        return {"task": task | {"label": suggestion.label}}

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
        """Tell the study what the trial's record says."""
        suggestion = self.running.pop(trial_id)
        try:
            self.search.finish(suggestion, trial_id in self.pruned)
        except StvmError as fault:
            self.fault = self.fault or fault

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the storage is the memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the storage is the memory."""


class Pruning(Stopper):
    """Stops what the pruner gives up."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop this trial."""
        return self.asker.stops(trial_id, result)

    def stop_all(self) -> bool:
        """Never: what runs is finished."""
        return False


class SearchLines(Lines):
    """Lines of a search: the objective's value where other studies show mIoU."""

    def __init__(self, total: int, asker: Asker) -> None:
        super().__init__(total, asker.at_once, "trials")
        self.asker = asker
        asker.search.told = self.told

    def told(self, suggestion: Suggestion, news: str) -> None:
        """A suggestion that needed no run."""
        self.total -= 1
        print_told(suggestion, news)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial ended, or says how far it is."""
        task = trial.config["task"]
        record = self.asker.results.read(task["name"]) if result.get("status") == "done" else None
        if record is None:
            super().on_trial_result(iteration, trials, trial, result, **info)
            return
        value, news = judged(record, self.asker.search.plan.objective)
        self.done += value is not None
        self.failed += value is None
        self._line(task["label"], news, trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended without a result of its own."""
        if trial.trial_id in self.asker.pruned:
            self.done += 1
            self._line(trial.config["task"]["label"], "pruned", trial)


def print_told(suggestion: Suggestion, news: str) -> None:
    """A line for a suggestion that needed no run."""
    print(f"        {suggestion.label}  already known: {news}", flush=True)
