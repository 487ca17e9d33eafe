"""Tasks of a study as Ray Tune runs them: source models, then trials."""

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from ray import tune

from stvm.files import now
from stvm.files.scratch import own_folder
from stvm.records.results import Results
from stvm.records.running import mark_stopped
from stvm.settings import Settings
from stvm.source_model.location import source_path
from stvm.study import Trial
from stvm.tune.options import RunOptions
from stvm.tune.progress import LineProgress, watcher
from stvm.tune.sharing import Shared
from stvm.tune.slots import Slots

RETRIES = 2
"""How often a task whose process or node died runs again; records make that safe."""


class Interrupted(Exception):
    """The user stopped the study; its records stay."""


def run_task(config: dict[str, Any]) -> None:
    """Run one task for Tune; torch is imported by the worker alone."""
    from stvm.tune.trainable import trainable

    trainable(config)


def has_source(trial: Trial, cache: Path) -> bool:
    """Whether there is a file to start from, or the user has named one."""
    given = trial.settings.source.source_checkpoint
    return bool(given) or source_path(trial.settings, cache).exists()


def missing_sources(todo: Sequence[Trial], cache: Path) -> list[Trial]:
    """One trial for each source model that has no file yet."""
    wanted: dict[Path, Trial] = {}
    for trial in todo:
        if not has_source(trial, cache):
            wanted.setdefault(source_path(trial.settings, cache), trial)
    return list(wanted.values())


def run_tasks(
    kind: Literal["source", "trial"],
    trials: Sequence[Trial],
    results: Results,
    run_options: RunOptions,
    slots: Slots,
    retry_failed: bool,
) -> tuple[str, ...]:
    """Errors of the tasks of one phase."""
    what = ("source model" if kind == "source" else "trial") + "s" * (len(trials) > 1)
    at_once = min(slots.count, len(trials))
    gpus = f" and {slots.gpus:g} GPU" if slots.gpus else ""
    cores = f"{slots.cpus} core{'s' if slots.cpus > 1 else ''}"
    print(f"{len(trials)} {what}, {at_once} at a time, {cores}{gpus} each", flush=True)
    tasks = [task_of(kind, trial, results, run_options, slots, retry_failed) for trial in trials]
    shown = watcher(len(tasks), at_once, what, tasks)
    for task in tasks:
        task |= {"report_every": shown.report_every, "waits": False}
    # Tune starts one worker after the other if it may not ask for more than one trial.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(at_once + 1)
    with shown, temporary_run_config(shown, kind) as run_config:
        tune.Tuner(
            tune.with_resources(run_task, {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=Shared(tasks, at_once, shown),
                num_samples=-1,
                reuse_actors=slots.gpus == 0,
            ),
            run_config=run_config,
        ).fit()
    return tuple(shown.errors)


@contextlib.contextmanager
def temporary_run_config(shown: LineProgress, name: str) -> Iterator[tune.RunConfig]:
    """Settings of a Tune run that leaves nothing behind."""
    with own_folder() as storage:
        yield tune.RunConfig(
            name=name,
            storage_path=str(storage),
            verbose=0,
            callbacks=[shown],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        )


def task_of(
    kind: str,
    trial: Trial,
    results: Results,
    run_options: RunOptions,
    slots: Slots,
    retry_failed: bool,
) -> dict[str, Any]:
    """The description of one source model or trial for a worker."""
    label, sign = trial.label, trial.hash
    source = source_path(trial.settings, run_options.cache.resolve())
    if kind == "source":
        label = "source model" + (f" of{trial.where}" if trial.where else "")
        sign = f"source-{source.stem}"
    return {
        "kind": kind,
        "kinds": _kinds(kind, trial.settings),
        "name": trial.hash,
        "label": label,
        "source": str(source),
        "sign": str(results.running_path(sign)),
        "settings": _groups(trial.settings),
        "results": str(results.root),
        "cache": str(run_options.cache.resolve()),
        "directory": os.getcwd(),
        "threads": slots.cpus,
        "gpu": slots.gpus > 0,
        "retry_failed": retry_failed,
        "failed": results.stamp(trial.hash) if retry_failed else "",
        "waits": True,
        "keep_every": run_options.keep_every,
        "tensorboard": run_options.tensorboard,
    }


def _kinds(kind: str, settings: Settings) -> list[str]:
    """Kinds of a task, on which its duration depends, narrowest first."""
    if kind == "source":
        return ["source"]
    method = settings.method
    family = method.procedure if method.procedure != "adapt" or method.st else "none"
    parts = "".join(str(int(on)) for on in (method.aug, method.mt, method.mgs, method.mocm))
    return [f"{family} {settings.training.iterations} {parts}", family]


def _groups(settings: Settings) -> dict[str, Any]:
    groups: dict[str, Any] = settings.model_dump(mode="json")
    return groups


@contextlib.contextmanager
def interruptible(results: Results) -> Iterator[None]:
    """End the block with `Interrupted` on Ctrl-C and SIGTERM, and say so on the tasks' signs.

    Args:
        results: folder of the records and signs.
    """

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    begun, before = now(), signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        mark_stopped(results.root / "running", begun)
        raise Interrupted from None
    finally:
        signal.signal(signal.SIGTERM, before)
