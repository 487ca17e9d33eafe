"""A trial and its record: run once, recorded once, by whichever process holds its lock."""

import platform
import time
from pathlib import Path
from typing import Any

import torch

from stvm import __version__
from stvm.data.fingerprints import Contents
from stvm.errors import DivergenceError, StvmError
from stvm.files import now
from stvm.pretrained import save_network
from stvm.records.results import Results
from stvm.records.running import signed
from stvm.settings import Settings
from stvm.training.loop import Progress
from stvm.training.resume import FORMAT, SAVE_INTERVAL_S, SUPERVISED_FORMAT, TrainingCheckpoint
from stvm.trial.metric_files import save_metric
from stvm.trial.recorded_name import images_of, named
from stvm.trial.run import Outcome, run_trial


def run_and_record(
    settings: Settings,
    results: Results,
    cache: Path,
    device: torch.device,
    label: str = "",
    retry_failed: bool = False,
    progress: Progress | None = None,
    every_s: float = SAVE_INTERVAL_S,
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
        label: the trial's label for people; the record keeps it as `variant`.
        retry_failed: run again a trial recorded as failed; the old record is set aside.
        progress: told how far it is.
        every_s: seconds between the states from which an interrupted trial goes on.
        wait: for another process that runs it.
        failed: stamp of the failed record to run again; one written later stands. Empty for any.

    Raises:
        Held: another process runs it, and `wait` is false.
    """
    contents = Contents(cache)
    settings = named(settings, results, contents).canonical()
    name = settings.hash()
    with results.lock(name, wait):
        form = SUPERVISED_FORMAT if settings.method.procedure == "oracle" else FORMAT
        checkpoint = TrainingCheckpoint(results.state_path(name), {"hash": name}, every_s, form)
        results.drop_unfinished(name)
        record = results.read(name)
        again = retry_failed and failed in ("", results.stamp(name))
        if record and not (again and record["status"] == "failed"):
            checkpoint.drop()
            return record
        if record:
            results.set_aside(name)
        path, lock = results.running_path(name), results.lock_path(name)
        with signed(path, label or name, lock, progress) as told:
            results.note("start", name, variant=label)
            record = _run(settings, results, cache, contents, device, told, checkpoint)
            record |= {"variant": label}
            results.write(record)
            results.note(record["status"], name)
        checkpoint.drop()
        return record


def _run(
    settings: Settings,
    results: Results,
    cache: Path,
    contents: Contents,
    device: torch.device,
    progress: Progress | None,
    checkpoint: TrainingCheckpoint,
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
    run: dict[str, Any] = {}
    if images:
        run = {"images_sha256": images, "images_content": contents.of_images(settings)}
    checkpoint.bind(images_sha256=images or "")
    try:
        outcome = run_trial(settings, cache, device, progress, checkpoint)
        if images and Contents(cache).of_images(settings) != run["images_content"]:
            raise StvmError(f"{_roots(settings)}: files changed while they were read; run again")
        digest = settings.source.checkpoint_content
        if digest and outcome.source["sha256"] != digest:
            raise StvmError(
                f"{settings.source.source_checkpoint}: changed after the trial was named by what "
                "it holds; run again"
            )
        results.write_sample(settings.hash(), outcome.sample)
        record["result"] = outcome.result
        if settings.compute.keep_model:
            _keep_model(settings, outcome, results)
        run["source_sha256"] = outcome.source["sha256"]
        run["source"] = outcome.source | _source_score(settings, outcome, results, contents)
    except DivergenceError as error:
        record["status"] = "failed"
        record["failure"] = {
            "error": str(error),
            "iteration": error.iteration,
            "seed": error.seed,
        }
    if checkpoint.resumed:
        run["resumed_from"] = checkpoint.resumed["iteration"]
        run["state_of"] = {name: checkpoint.resumed[name] for name in ("device", "threads")}
    if checkpoint.set_aside:
        run["state_set_aside"] = str(checkpoint.set_aside)
    return record | {"run": run | _circumstances(started, clock, device)}


def _roots(settings: Settings) -> str:
    return " or ".join(filter(None, (settings.data.source_root, settings.data.target_root)))


def source_row(settings: Settings) -> Settings:
    """The trial that measures the source model as it is, the same way: the tables' row Source."""
    off = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    return settings.replace(procedure="adapt", **off).canonical()


def _source_score(
    settings: Settings, outcome: Outcome, results: Results, contents: Contents
) -> dict[str, float]:
    """mIoU of the source model, once the trial that measures it has a record."""
    row = source_row(settings)
    if row == settings:
        return {"miou": outcome.result["miou"]}
    row = named(row, results, contents)
    record = results.read(row.hash())
    return {"miou": record["result"]["miou"]} if record and record["status"] == "done" else {}


def _keep_model(settings: Settings, outcome: Outcome, results: Results) -> None:
    """The reported network beside the record, and the metric network beside that."""
    source = outcome.source
    family = str(source.get("origin", source["family"]))
    path = results.model_path(settings.hash())
    save_network(outcome.network, path, outcome.labelling.class_names, family)
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
