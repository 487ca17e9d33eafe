"""Ray Tune as the executor of tasks that are not yet recorded; it keeps nothing itself."""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
# Tune's own handler ends fit() as if all were well.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")

# Before Ray, since it sets more of Ray's environment.
from stvm.cluster import check_nodes, connected, free_resources

# isort: split
from ray import tune

from stvm.consent import accept_cpu, refuse_random_source
from stvm.machine import Machine
from stvm.progress import Lines, watcher
from stvm.records import Results
from stvm.scratch import own_folder
from stvm.settings import Settings
from stvm.sharing import Shared, sweep
from stvm.slots import Resources, Slots, plan_slots
from stvm.sources import brings_files, source_path
from stvm.study import Studies, Study, Trial
from stvm.tensorboard import require_tensorboard, write_missing

RETRIES = 2
"""How often a task whose process or node died runs again; records make that safe."""


@dataclass(frozen=True)
class Finished:
    """What became of a study's run.

    Attributes:
        errors: one line for each task that could not be carried out.
    """

    errors: tuple[str, ...]


class Interrupted(Exception):
    """The user stopped the study; what is recorded stays."""


def execute(
    study: Study | Studies, results: Results, machine: Machine, retry_failed: bool = False
) -> Finished:
    """Run the trials of a study that are not recorded, source models first.

    Raises:
        StvmError: no trial fits the machine, or the nodes of a cluster do not share what they must.
        Interrupted: Ctrl-C or a request to terminate.
    """
    if machine.tensorboard:
        require_tensorboard()
    finished = _execute(study, results, machine, retry_failed)
    if machine.tensorboard:
        write_missing(results, dict.fromkeys(trial.hash for trial in study.trials))
    return finished


def _execute(
    study: Study | Studies, results: Results, machine: Machine, retry_failed: bool
) -> Finished:
    todo = study.missing(results, retry_failed)
    if not todo:
        study.write_manifest(results)
        return Finished(())
    refuse_random_source([t.settings for t in todo], machine.cache, machine.from_scratch)
    check_files(todo, machine.cache)
    with interruptible(), connected(machine) as nodes:
        slots = prepare_slots(machine, nodes, results)
        if slots.gpus:
            show_memory(todo, slots.gpus)
        else:
            show_cpu(todo, machine)
        study.write_manifest(results)
        sweep(results)
        sources = missing_sources(todo, machine.cache)
        errors: tuple[str, ...] = ()
        if sources:
            errors = run_tasks("source", sources, results, machine, slots, retry_failed)
            todo = [t for t in todo if _has_source(t, machine.cache)]
        if todo:
            errors += run_tasks("trial", todo, results, machine, slots, retry_failed)
        return Finished(errors)


def check_files(trials: Iterable[Trial], cache: Path) -> None:
    """Look at the images and checkpoints that the user brings; say what is to be known of them.

    Raises:
        StvmError: one is missing or does not fit.
    """
    brought = [trial.settings for trial in trials if brings_files(trial.settings)]
    # torch takes seconds to import, while which Ray could start: only for those who bring files.
    if brought:
        from stvm.inputs import check_inputs

        for line in check_inputs(brought, cache):
            print(line, flush=True)


def show_memory(trials: Sequence[Trial], gpus: float) -> None:
    """Print what the largest of the trials is estimated to need of its GPU."""
    # Where there is a GPU, a study is longer than torch takes to import.
    from stvm.memory_report import gpu_memory, largest, lines

    try:
        told = lines(largest(t.settings for t in trials), gpu_memory(), gpus)
    except Exception as error:
        # It rests on fake tensors, which torch may change; no study should end for a forecast.
        told = [f"GPU memory is not estimated: {type(error).__name__}: {str(error)[:100]}"]
    print("\n".join(told), flush=True)


def show_cpu(trials: Sequence[Trial], machine: Machine) -> None:
    """Print what the longest of the trials takes on the CPU.

    Raises:
        StvmError: hours, and nobody asked for the CPU.
    """
    asked = machine.on_cpu or machine.gpus == 0
    told = accept_cpu([trial.settings for trial in trials], asked)
    if told:
        print(told, flush=True)


def work(config: dict[str, Any]) -> None:
    """What Tune runs; torch is imported by the worker alone."""
    from stvm.trainable import trainable

    trainable(config)


def prepare_slots(machine: Machine, nodes: Sequence[Resources], results: Results) -> Slots:
    """Slots on a cluster that is fit for the study."""
    free = free_resources() if machine.address else None
    slots = plan_slots(nodes, machine.cpus, machine.gpus, free)
    if machine.address:
        check_nodes([results.root, machine.cache])
    for note in slots.notes:
        print(note, flush=True)
    return slots


def _has_source(trial: Trial, cache: Path) -> bool:
    """There is a file to start from, or the user has named one."""
    given = trial.settings.source.source_checkpoint
    return bool(given) or source_path(trial.settings, cache).exists()


def missing_sources(todo: Sequence[Trial], cache: Path) -> list[Trial]:
    """One trial for each source model that has no file yet."""
    wanted: dict[Path, Trial] = {}
    for trial in todo:
        if not _has_source(trial, cache):
            wanted.setdefault(source_path(trial.settings, cache), trial)
    return list(wanted.values())


def run_tasks(
    kind: Literal["source", "trial"],
    trials: Sequence[Trial],
    results: Results,
    machine: Machine,
    slots: Slots,
    retry_failed: bool,
) -> tuple[str, ...]:
    """Errors of the tasks of one phase."""
    what = ("source model" if kind == "source" else "trial") + "s" * (len(trials) > 1)
    at_once = min(slots.count, len(trials))
    gpus = f" and {slots.gpus:g} GPU" if slots.gpus else ""
    cores = f"{slots.cpus} core{'s' if slots.cpus > 1 else ''}"
    print(f"{len(trials)} {what}, {at_once} at a time, {cores}{gpus} each", flush=True)
    tasks = [task_of(kind, trial, results, machine, slots, retry_failed) for trial in trials]
    shown = watcher(len(tasks), at_once, what, tasks)
    for task in tasks:
        task |= {"report_every": shown.report_every, "waits": False}
    # Tune starts one worker after the other if it may not ask for more than one trial.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(at_once + 1)
    with shown, experiment(shown, kind) as run_config:
        tune.Tuner(
            tune.with_resources(work, {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=Shared(tasks, at_once, shown),
                num_samples=-1,
                reuse_actors=slots.gpus == 0,
            ),
            run_config=run_config,
        ).fit()
    return tuple(shown.errors)


@contextlib.contextmanager
def experiment(shown: Lines, name: str) -> Iterator[tune.RunConfig]:
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
    kind: str, trial: Trial, results: Results, machine: Machine, slots: Slots, retry_failed: bool
) -> dict[str, Any]:
    """What a worker is told of one source model or trial."""
    label, sign = trial.label, trial.hash
    source = source_path(trial.settings, machine.cache.resolve())
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
        "cache": str(machine.cache.resolve()),
        "directory": os.getcwd(),
        "threads": slots.cpus,
        "gpu": slots.gpus > 0,
        "retry_failed": retry_failed,
        "failed": results.stamp(trial.hash) if retry_failed else "",
        "waits": True,
        "keep_every": machine.keep_every,
        "tensorboard": machine.tensorboard,
    }


def _kinds(kind: str, settings: Settings) -> list[str]:
    """What a task's duration depends on, narrowest first."""
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
def interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block with `Interrupted`."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None
    finally:
        signal.signal(signal.SIGTERM, before)
