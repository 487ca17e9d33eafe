"""Recorded trials in MLflow and Weights & Biases, written by each library's own client.

    RESULTS/mlflow/mlflow.db, artifacts/            a local store: `mlflow ui` shows it
    RESULTS/wandb/ID/wandb/offline-run-*            offline runs: `wandb sync` uploads them

ID is the trial's hash and the time at which it was started: a trial that ran again is another run.
"""

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from stvm.errors import StvmError, unknown
from stvm.files import drop_unfinished, refuse_file, replacing_folder, writing
from stvm.files.sqlite import sqlite_url
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.records.tensorboard_events import EVALUATION, scalars, strips

TRACKERS = {"mlflow": "mlflow-skinny", "wandb": "wandb"}
"""Module to its package, by which the optional extra is named too but for `-skinny`."""
PROJECT = "stvm"
_MOST_PARAMS = 100
_MOST_METRICS = 1000
"""Most that MLflow takes at a time."""


def require(names: Iterable[str]) -> None:
    """Look for packages before anything is started.

    Raises:
        StvmError: an unknown tracker, or one that is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, ("tensorboard", *TRACKERS))
        if importlib.util.find_spec(name) is None:
            raise StvmError(
                f'tracker {name} needs the package {TRACKERS[name]}: pip install -e ".[{name}]"'
            )


def write(results: Results, hashes: Iterable[str], names: Iterable[str]) -> dict[str, int]:
    """Write the recorded ones among these trials that are not written yet.

    Args:
        results: results with the records.
        hashes: hashes of trials.
        names: names of trackers.

    Returns:
        New runs by tracker.

    Raises:
        StvmError: a record cannot be read, or a tracker's store cannot be written.
    """
    chosen = list(names)
    require(chosen)
    read = (results.read(name) for name in dict.fromkeys(hashes))
    records = [record for record in read if record]
    writers = {"mlflow": _to_mlflow, "wandb": _to_wandb}
    new = {}
    for name in chosen:
        folder = results.root / name
        refuse_file(folder, name)
        with results.lock(f"tracker-{name}"), writing(folder), _faults(name, folder):
            new[name] = writers[name](results, folder, records)
    return new


@contextlib.contextmanager
def _faults(name: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except (StvmError, OSError):
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise StvmError(
            f"{name} cannot write {folder}: {type(error).__name__}: {reason}; the records are as "
            "they were, `python -m studies track` writes what is missing"
        ) from error


def run_id(record: Record) -> str:
    """Names one run of a trial: of its hash and the digits of when it was started."""
    started = str(record.run.get("started", ""))
    digits = "".join(filter(str.isdigit, started.partition("+")[0]))
    return f"{record.hash}-{digits}" if digits else record.hash


def facts(record: Record) -> dict[str, str]:
    """Facts about a run beside its settings."""
    run: Mapping[str, Any] = record.run
    told = {key: run.get(key) for key in ("started", "seconds", "device", "stvm", "torch")}
    told |= {"hash": record.hash, "status": record.status}
    told |= {"variant": record.variant, "split": record.split}
    told |= {"failure": record.failure.get("error")}
    told |= {"note": f"'{EVALUATION}': what needs labels of the target"}
    return {key: str(value) for key, value in told.items() if value not in (None, "")}


def pictures(results: Results, record: Record) -> list[np.ndarray[Any, Any]]:
    """Image, label and prediction of the sample; none where there is no sample."""
    path = results.sample_path(record.hash)
    if not path.exists():
        return []
    with np.load(path, allow_pickle=False) as arrays:
        return list(strips(dict(arrays)))


def _to_mlflow(results: Results, folder: Path, records: list[Record]) -> int:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Imported here: it takes seconds, and few ask for it.
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    client = MlflowClient(tracking_uri=sqlite_url(folder / "mlflow.db"))
    found = client.get_experiment_by_name(PROJECT)
    where = (folder / "artifacts").as_uri()
    experiment = found.experiment_id if found else client.create_experiment(PROJECT, where)
    new = 0
    for record in records:
        runs = client.search_runs([experiment], f"tags.stvm_run = '{run_id(record)}'")
        if any(run.info.status != "RUNNING" for run in runs):
            continue
        # One that a killed process began.
        for run in runs:
            client.delete_run(run.info.run_id)
        _mlflow_run(client, experiment, results, record)
        new += 1
    return new


def _mlflow_run(client: Any, experiment: str, results: Results, record: Record) -> None:
    from mlflow.entities import Metric, Param

    began, seconds = _times(record)
    tags = {f"stvm_{key}": value for key, value in facts(record).items()}
    tags["stvm_run"] = run_id(record)
    run = client.create_run(
        experiment, began, tags, run_name=record.variant or record.hash
    ).info.run_id
    params = [Param(name, str(value)) for name, value in record.settings.items()]
    for start in range(0, len(params), _MOST_PARAMS):
        client.log_batch(run, params=params[start : start + _MOST_PARAMS])
    # MLflow takes no comma in a name.
    metrics = [
        Metric(tag.replace(",", ""), value, began, step) for tag, step, value in scalars(record)
    ]
    for start in range(0, len(metrics), _MOST_METRICS):
        client.log_batch(run, metrics=metrics[start : start + _MOST_METRICS])
    for number, picture in enumerate(pictures(results, record)):
        client.log_image(run, picture, artifact_file=f"pictures/{number}.png")
    status = "FINISHED" if record.status == "done" else "FAILED"
    client.set_terminated(run, status, began + int(1000 * seconds))


def _times(record: Record) -> tuple[int, float]:
    """Milliseconds since 1970 at the start, and seconds that it took."""
    try:
        began = int(1000 * datetime.fromisoformat(str(record.run.get("started"))).timestamp())
    except ValueError:
        began = 0
    return began, float(record.run.get("seconds") or 0)


def _to_wandb(results: Results, folder: Path, records: list[Record]) -> int:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    new = 0
    for record in records:
        target = folder / run_id(record)
        drop_unfinished(target)
        if target.exists():
            continue
        with replacing_folder(target) as half:
            _wandb_run(half, results, record)
        new += 1
    return new


def _wandb_run(folder: Path, results: Results, record: Record) -> None:
    import wandb

    with wandb.init(
        project=PROJECT,
        id=run_id(record),
        name=record.variant or record.hash,
        config=record.settings | {f"stvm.{k}": v for k, v in facts(record).items()},
        dir=folder,
        mode="offline",
        # Of the machine that writes and not of the one that trained, so none of it.
        settings=wandb.Settings(
            console="off", disable_code=True, disable_git=True, silent=True, x_disable_stats=True
        ),
    ) as run:
        run.define_metric("*", step_metric="iteration")
        points: dict[int, dict[str, float]] = {}
        for tag, step, value in scalars(record):
            points.setdefault(step, {})[tag] = value
        for step in sorted(points):
            run.log({"iteration": step} | points[step])
        images = [wandb.Image(picture) for picture in pictures(results, record)]
        if images:
            run.log({"image, label and prediction": images})
        run.finish(0 if record.status == "done" else 1)
