"""Ray Tune as the executor of tasks that are not yet recorded; it keeps nothing itself."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
# Tune's own handler ends fit() as if all were well.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")

import ray
from ray import tune

from stvm.errors import StvmError
from stvm.experiment import check_inputs, source_path
from stvm.progress import Lines
from stvm.records import Results
from stvm.settings import Settings
from stvm.study import Study, Trial
from stvm.trainable import trainable


@dataclass(frozen=True)
class Machine:
    """What a trial may use and where the work goes.

    Attributes:
        cpus: cores a trial; None for one core, or a GPU's share of the cores.
        gpus: GPUs a trial; None for one where there are any.
        address: of a running Ray cluster; None starts Ray on this machine.
        cache: of rendered data and source models.
    """

    cpus: int | None
    gpus: float | None
    address: str | None
    cache: Path


@dataclass(frozen=True)
class Slots:
    """Resources of one trial, and how many trials fit at a time."""

    cpus: int
    gpus: float
    count: int


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
    study: Study, results: Results, machine: Machine, retry_failed: bool = False
) -> Finished:
    """Run the trials of a study that are not recorded, source models first.

    Raises:
        StvmError: no trial fits the machine.
        Interrupted: Ctrl-C or a request to terminate.
    """
    todo = study.missing(results, retry_failed)
    if not todo:
        study.write_manifest(results)
        return Finished(())
    check_inputs(trial.settings for trial in todo)
    with _interruptible(), _cluster(machine) as nodes:
        slots = plan_slots(nodes, machine.cpus, machine.gpus)
        study.write_manifest(results)
        sources = _missing_sources(todo, machine.cache)
        errors: tuple[str, ...] = ()
        if sources:
            errors = _run("source", sources, results, machine, slots, retry_failed)
            todo = [t for t in todo if _has_source(t, machine.cache)]
        if todo:
            errors += _run("trial", todo, results, machine, slots, retry_failed)
        return Finished(errors)


def plan_slots(nodes: Sequence[dict[str, float]], cpus: int | None, gpus: float | None) -> Slots:
    """Resources of a trial on these nodes.

    Args:
        nodes: of each node, resources by Ray's names (CPU, GPU).
        cpus: asked for; None for one core, or with GPUs an equal share of up to 8.
        gpus: asked for; None for one where there are any.

    Raises:
        StvmError: no node can hold one trial, which Ray would leave pending without a word.
    """
    most_gpus = max(node.get("GPU", 0) for node in nodes)
    most_cpus = max(node.get("CPU", 0) for node in nodes)
    if gpus is None:
        gpus = 1.0 if most_gpus >= 1 else 0.0
    if cpus is None:
        cpus = 1 if gpus == 0 else max(1, min(8, int(most_cpus * gpus / max(most_gpus, 1))))
    fits = 0
    for node in nodes:
        by_gpu = int(node.get("GPU", 0) / gpus + 1e-9) if gpus else cpus_of(node)
        fits += min(int(node.get("CPU", 0)) // cpus, by_gpu)
    if not fits:
        short = "--cpus-per-trial" if most_gpus >= gpus else "--gpus-per-trial"
        raise StvmError(
            f"a trial asks for {cpus} cores and {gpus:g} GPUs, but the largest node has "
            f"{most_cpus:.0f} cores and {most_gpus:g} GPUs: lower {short}"
        )
    return Slots(cpus, gpus, fits)


def cpus_of(node: dict[str, float]) -> int:
    """Cores of a node."""
    return int(node.get("CPU", 0))


def _has_source(trial: Trial, cache: Path) -> bool:
    """There is a file to start from, or the user has named one."""
    given = trial.settings.source.source_checkpoint
    return bool(given) or source_path(trial.settings, cache).exists()


def _missing_sources(todo: Sequence[Trial], cache: Path) -> list[Trial]:
    """One trial for each source model that has no file yet."""
    wanted: dict[Path, Trial] = {}
    for trial in todo:
        if not _has_source(trial, cache):
            wanted.setdefault(source_path(trial.settings, cache), trial)
    return list(wanted.values())


def _run(
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
    tasks = [_task(kind, trial, results, machine.cache, slots, retry_failed) for trial in trials]
    lines = Lines(len(tasks), at_once, what)
    storage = Path(tempfile.mkdtemp(prefix="stvm-tune-"))
    try:
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus}),
            param_space={"task": tune.grid_search(tasks)},
            tune_config=tune.TuneConfig(reuse_actors=slots.gpus == 0),
            run_config=tune.RunConfig(
                name=kind, storage_path=str(storage), verbose=0, callbacks=[lines]
            ),
        ).fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    return tuple(lines.errors)


def _task(
    kind: str, trial: Trial, results: Results, cache: Path, slots: Slots, retry_failed: bool
) -> dict[str, Any]:
    label = f"source model of realisation {trial.realisation}" if kind == "source" else trial.label
    return {
        "kind": kind,
        "name": trial.hash,
        "label": label,
        "settings": _groups(trial.settings),
        "results": str(results.root),
        "cache": str(cache.resolve()),
        "directory": os.getcwd(),
        "threads": slots.cpus,
        "gpu": slots.gpus > 0,
        "retry_failed": retry_failed,
    }


def _groups(settings: Settings) -> dict[str, Any]:
    groups: dict[str, Any] = settings.model_dump(mode="json")
    return groups


def _answers(address: str | None) -> None:
    """Ray itself would try an address that is not there for minutes."""
    host, separator, port = (address or "").rpartition(":")
    if not separator or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise StvmError(
            f"Ray cannot be reached at {address}: {error.strerror or error}; check --address"
        ) from None


@contextlib.contextmanager
def _cluster(machine: Machine) -> Iterator[list[dict[str, float]]]:
    """Ray, started or joined; gives the resources of the living nodes."""
    _answers(machine.address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if machine.address:
        options["address"] = machine.address
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        options |= {"num_cpus": cores, "include_dashboard": False}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"at {machine.address}" if machine.address else "on this machine"
        reason = str(error).splitlines()[0]
        raise StvmError(f"Ray cannot be reached {where}: {reason}; check --address") from None
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    try:
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        yield [node["Resources"] for node in nodes if node["Alive"]]
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
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
