"""A search of tiny settings and records that nothing has run for."""

from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from stvm.records.record import Record
from stvm.records.results import Results
from stvm.records.selection_scores import find_selection_score
from stvm.search.plan import Plan, Suggestion
from stvm.search.search import Search
from stvm.search.space import find_parameters
from stvm.search.storage import open_storage
from tests.helpers.tiny_settings import tiny

SCORE = "information_maximisation"


def plan(**changes: Any) -> Plan:
    base = changes.pop("base", tiny())
    names = changes.pop("parameters", ("alpha", "beta", "temperature"))
    given = {
        "preset": "demo",
        "base": base,
        "parameters": find_parameters(names, base),
        "score": find_selection_score(changes.pop("score", SCORE)),
        "sampler": "tpe",
        "sampler_seed": 0,
        "pruner": "none",
        "seed": 1000,
        "realisation": 0,
        "tuned": False,
    }
    return Plan(**(given | changes))


class Bench:
    """A search and the records that a fake executor writes for it."""

    def __init__(self, folder: Path, trials: int = 6, **changes: Any) -> None:
        self.results, self.plan = Results(folder), plan(**changes)
        self.heard: list[tuple[int, str]] = []
        self.states_heard: list[TrialState] = []
        self.trials = trials
        self.search = self.open()

    def open(self) -> Search:
        """As a new process does: nothing but the storage and the records is known."""
        return Search(self.plan, self.storage(), "here", self.results, self.trials, self.hear)

    def storage(self) -> BaseStorage:
        """A journal, which is faster than sqlite; the tests with a process use that."""
        journal = self.results.root / f"{self.plan.name}.log"
        return open_storage(str(journal), self.results.root, self.plan.name)

    def hear(self, suggestion: Suggestion, news: str, state: TrialState) -> None:
        self.heard.append((suggestion.number, news))
        self.states_heard.append(state)

    def record(self, suggestion: Suggestion, value: float | None, status: str = "done") -> None:
        failure = {"error": "loss is nan at iteration 3", "iteration": 3, "seed": 1000}
        scores = {SCORE: value, "entropy": value}
        self.results.write(
            Record(suggestion.trial.hash, "done", result={"miou": 0.5, "scores": scores})
            if status == "done"
            else Record(suggestion.trial.hash, "failed", failure=failure)
        )

    def run(self, search: Search, most: int = 100) -> list[Suggestion]:
        """One trial at a time; the value is best at alpha 2."""
        done: list[Suggestion] = []
        while len(done) < most and (suggestion := search.next()):
            self.record(suggestion, -abs(suggestion.values.get("alpha", 0) - 2))
            search.finish(suggestion)
            done.append(suggestion)
        return done

    def states(self) -> Counter[str]:
        study = optuna.load_study(study_name=self.plan.name, storage=self.storage())
        return Counter(t.state.name for t in study.get_trials())


def next_of(search: Search) -> Suggestion:
    suggestion = search.next()
    assert suggestion is not None
    return suggestion
