"""Ray Tune's part of a study, done by this process one task after another.

All else is the project's own: which task comes next, its settings as a worker gets them, its record
and the lines about it. A worker of Ray takes longer to start than a tiny trial to run.
"""

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from ray.tune.search import Searcher

from stvm.tune import run_study


class Tuner:
    """Tune's `Tuner` as `run_tasks` uses it.

    Args:
        trainable: function of a task; what it tells `tune.report` goes to the callbacks.
        tune_config: its searcher gives the tasks.
        run_config: its callbacks are told what happens.
    """

    def __init__(
        self,
        trainable: Callable[[dict[str, Any]], None],
        *,
        tune_config: tune.TuneConfig,
        run_config: tune.RunConfig,
    ) -> None:
        self.trainable = trainable
        self.searcher: Any = tune_config.search_alg
        self.callbacks: list[Any] = run_config.callbacks or []

    def fit(self) -> None:
        """Carry out all tasks."""
        for number in itertools.count():
            config = self.searcher.suggest(str(number))
            if config == Searcher.FINISHED:
                return
            assert config, "no other driver is here to wait for"
            self._run(SimpleNamespace(trial_id=str(number), config=config))

    def _run(self, trial: Any) -> None:
        told: list[dict[str, Any]] = [{}]

        def report(result: dict[str, Any]) -> None:
            told.append(result)
            for shown in self.callbacks:
                shown.on_trial_result(0, [trial], trial, result)

        for shown in self.callbacks:
            shown.on_trial_start(0, [trial], trial)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tune, "report", report)
            self.trainable(trial.config)
        self.searcher.on_trial_complete(trial.trial_id, told[-1])
        for shown in self.callbacks:
            shown.on_trial_complete(0, [trial], trial)


def replace_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let studies run on one core of this process, and start no Ray."""
    monkeypatch.setattr(tune, "Tuner", Tuner)
    monkeypatch.setattr(run_study, "connected", lambda _: nullcontext([{"CPU": 1.0}]))
