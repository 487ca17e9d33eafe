"""A trial and its record: run once, recorded once, by whichever process holds its lock."""

import platform
import time
from collections.abc import Callable, Iterable
from functools import cache as remembered
from pathlib import Path
from typing import Any

import torch

from stvm import __version__
from stvm.checkpoints import EVERY_S, Keeper
from stvm.data.access import class_names, fingerprint
from stvm.errors import DivergenceError, StvmError
from stvm.experiment import Outcome, run_trial
from stvm.metric_files import save_metric
from stvm.pretrained import save_network
from stvm.records import Results, now
from stvm.running import signed
from stvm.settings import Settings
from stvm.source_model import file_sha256
from stvm.trainer import Progress


def run_and_record(
    settings: Settings,
    results: Results,
    cache: Path,
    device: torch.device,
    variant: str = "",
    retry_failed: bool = False,
    progress: Progress | None = None,
    every_s: float = EVERY_S,
    wait: bool = True,
    failed: str = "",
) -> dict[str, Any]:
    """The record of a trial, run now unless it stands already.

    A loss that is not finite is a result of the settings and is recorded as a failure. Trouble
    with data, disk or machine is not: it is raised, and the trial stays to be run.

    Args:
        settings: of the trial.
        results: where its record goes.
        cache: of rendered data and source models.
        device: to train on.
        variant: what the study calls it; in the record for readers only.
        retry_failed: run again a trial recorded as failed; the old record is set aside.
        progress: told how far it is.
        every_s: seconds between the states from which an interrupted trial goes on.
        wait: for another process that runs it.
        failed: stamp of the failed record to run again; one written later stands. Empty for any.

    Raises:
        Held: another process runs it, and `wait` is false.
    """
    settings, name = settings.canonical(), settings.hash()
    with results.lock(name, wait):
        keeper = Keeper(results.state_path(name), {"hash": name}, every_s)
        results.drop_unfinished(name)
        record = results.read(name)
        again = retry_failed and failed in ("", results.stamp(name))
        if record and not (again and record["status"] == "failed"):
            keeper.drop()
            return record
        if record:
            results.set_aside(name)
        path, lock = results.running_path(name), results.lock_path(name)
        with signed(path, variant or name, lock, progress) as told:
            results.note("start", name, variant=variant)
            record = _run(settings, results, cache, device, told, keeper) | {"variant": variant}
            results.write(record)
            results.note(record["status"], name)
        keeper.drop()
        return record


def _adapts(settings: Settings) -> bool:
    return settings.method.st or settings.method.procedure != "adapt"


def images_of(settings: Settings, read: Callable[..., str | None] = fingerprint) -> str | None:
    """Fingerprint of the images that the trial reads; the source model's row reads fewer."""
    reads_source = not (settings.source.source_checkpoint and _adapts(settings))
    return read(settings.data, settings.training.eval_split, _adapts(settings), reads_source)


def refuse_other_files(trials: Iterable[Settings], results: Results) -> None:
    """A trial is named by the paths of its images and checkpoint, not by what they hold.

    Raises:
        StvmError: a recorded trial read other files below the same path.
    """
    images, contents = remembered(fingerprint), remembered(file_sha256)
    for settings in trials:
        data, checkpoint = settings.data, settings.source.source_checkpoint
        if data.dataset == "streets" and not checkpoint:
            continue
        record = results.read(settings.hash())
        if record is None:
            continue
        for key, now_is, what in (
            (
                "images_sha256",
                images_of(settings, images),
                f"{data.source_root} or {data.target_root}",
            ),
            ("source_sha256", contents(Path(checkpoint)), checkpoint),
        ):
            if now_is and record["run"].get(key, now_is) != now_is:
                raise StvmError(
                    f"{results.record_path(settings.hash())}: recorded with other files in {what}; "
                    "restore them, or name another folder with --results"
                )


def _run(
    settings: Settings,
    results: Results,
    cache: Path,
    device: torch.device,
    progress: Progress | None,
    keeper: Keeper,
) -> dict[str, Any]:
    started, clock = now(), time.perf_counter()
    record: dict[str, Any] = {
        "hash": settings.hash(),
        "status": "done",
        "settings": settings.flat(),
        "result": None,
        "failure": None,
    }
    images = images_of(settings)
    run: dict[str, Any] = {"images_sha256": images} if images else {}
    keeper.bind(images_sha256=images or "")
    try:
        outcome = run_trial(settings, cache, device, progress, keeper)
        results.write_sample(settings.hash(), outcome.sample)
        record["result"] = outcome.result
        if settings.compute.keep_model:
            _keep_model(settings, outcome, results)
        run["source_sha256"] = outcome.source["sha256"]
        run["source"] = outcome.source | _source_score(settings, outcome, results)
    except DivergenceError as error:
        record["status"] = "failed"
        record["failure"] = {
            "error": str(error),
            "iteration": error.iteration,
            "seed": error.seed,
        }
    if keeper.resumed:
        run["resumed_from"] = keeper.resumed["iteration"]
        run["state_of"] = {name: keeper.resumed[name] for name in ("device", "threads")}
    if keeper.set_aside:
        run["state_set_aside"] = str(keeper.set_aside)
    return record | {"run": run | _circumstances(started, clock, device)}


def source_row(settings: Settings) -> Settings:
    """The trial that measures the source model as it is, the same way: the tables' row Source."""
    off = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    return settings.replace(procedure="adapt", **off).canonical()


def _source_score(settings: Settings, outcome: Outcome, results: Results) -> dict[str, float]:
    """mIoU of the source model, once the trial that measures it has a record."""
    row = source_row(settings)
    if row == settings:
        return {"miou": outcome.result["miou"]}
    record = results.read(row.hash())
    return {"miou": record["result"]["miou"]} if record and record["status"] == "done" else {}


def _keep_model(settings: Settings, outcome: Outcome, results: Results) -> None:
    """The reported network beside the record, and the metric network beside that."""
    source = outcome.source
    family = str(source.get("origin", source["family"]))
    path = results.model_path(settings.hash())
    save_network(outcome.network, path, class_names(settings.data), family)
    if outcome.adaptation:
        metric = results.metric_path(settings.hash())
        save_metric(outcome.adaptation, outcome.network, settings.method, metric)


def _circumstances(started: str, clock: float, device: torch.device) -> dict[str, Any]:
    return {
        "started": started,
        "seconds": round(time.perf_counter() - clock, 2),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "stvm": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
