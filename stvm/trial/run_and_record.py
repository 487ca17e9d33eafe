"""A trial and its record: run once, recorded once, by whichever process holds its lock."""

import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

import torch

from stvm import __version__
from stvm.data.fingerprints import Contents
from stvm.errors import DivergenceError, StvmError
from stvm.files import now
from stvm.networks import find_network
from stvm.pretrained import save_network
from stvm.records.record import Record
from stvm.records.result_schema import Result
from stvm.records.results import Results
from stvm.records.running import signed
from stvm.records.schema import Failure, Run, SourceModel, StateOf
from stvm.settings import Settings
from stvm.training.loop import Progress
from stvm.training.resume import FORMAT, SAVE_INTERVAL_S, SUPERVISED_FORMAT, TrainingCheckpoint
from stvm.trial.metric_network_files import save_metric
from stvm.trial.peak_memory import PeakMemory
from stvm.trial.recorded_name import images_of, named
from stvm.trial.run import Outcome, run_trial
from stvm.trial.source_figure import recorded_source_miou, source_row


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
) -> Record:
    """The record of a trial, run now unless it stands already.

    A loss that is not finite is a result of the settings and is recorded as a failure. Trouble
    with data, disk or machine is not: it is raised, and the trial stays to be run.

    Args:
        settings: settings of the trial.
        results: folder of the record.
        cache: folder of rendered data and source models.
        device: device to train on.
        label: the trial's label for people; the record keeps it as `variant`.
        retry_failed: run a trial recorded as failed again; the old record is set aside.
        progress: callback that is told how far the trial is.
        every_s: seconds between the states from which an interrupted trial resumes.
        wait: wait for another process that runs the trial.
        failed: stamp of the failed record to run again; one written later stands. Empty for any.

    Raises:
        Held: another process runs it, and `wait` is false.
    """
    contents = Contents(cache)
    settings = named(settings, results, contents).canonical()
    name = settings.hash()
    with results.lock(name, wait):
        checkpoint = _checkpoint(settings, results, every_s)
        results.drop_unfinished(name)
        record = results.read(name)
        again = retry_failed and failed in ("", results.stamp(name))
        if record and (record.is_done or not again):
            checkpoint.drop()
            return record
        if record:
            results.set_aside(name)
        trial = _NewTrial(settings, results, cache, contents, device, checkpoint, label)
        record = trial.record(progress)
        checkpoint.drop()
        return record


def _checkpoint(settings: Settings, results: Results, every_s: float) -> TrainingCheckpoint:
    form = SUPERVISED_FORMAT if settings.method.procedure == "oracle" else FORMAT
    name = settings.hash()
    return TrainingCheckpoint(results.state_path(name), {"hash": name}, every_s, form)


@dataclass(frozen=True)
class _NewTrial:
    """A trial to run and record, by the process that holds its lock.

    Attributes:
        settings: settings whose hash is the trial's name.
        results: folder of the record.
        cache: folder of rendered data and source models.
        contents: digests of the user's files.
        device: device to train on.
        checkpoint: kept state of the training.
        label: the trial's label for people.
    """

    settings: Settings
    results: Results
    cache: Path
    contents: Contents
    device: torch.device
    checkpoint: TrainingCheckpoint
    label: str

    def record(self, progress: Progress | None) -> Record:
        """Run the trial and write its record."""
        name, results = self.settings.hash(), self.results
        path, lock = results.running_path(name), results.lock_path(name)
        with signed(path, self.label or name, lock, progress) as told:
            results.note("start", name, variant=self.label)
            record = self._run(told)
            results.write(record)
            results.note(record.status, name)
        return record

    def _run(self, progress: Progress | None) -> Record:
        started, clock, memory = now(), time.perf_counter(), PeakMemory(self.device)
        name, flat = self.settings.hash(), self.settings.flat()
        images = images_of(self.settings)
        run = Run()
        if images:
            run["images_sha256"] = images
            run["images_content"] = self.contents.of_images(self.settings)
        self.checkpoint.bind(images_sha256=images or "")
        result, failure = None, Failure()
        try:
            outcome = run_trial(self.settings, self.cache, self.device, progress, self.checkpoint)
            self._refuse_changed_files(outcome, run)
            self._keep_files(outcome)
            result = cast(Result, outcome.result)
            run["source_sha256"] = str(outcome.source["sha256"])
            run["source"] = cast(SourceModel, outcome.source | self._source_score(outcome))
        except DivergenceError as error:
            failure = Failure(error=str(error), iteration=error.iteration, seed=error.seed)
        run |= self._resumed() | _circumstances(started, clock, self.device)
        run |= _peak_memory(memory.mib())
        run |= _network_package(self.settings.network.network)
        if result is None:
            return Record(name, "failed", flat, failure=failure, run=run, variant=self.label)
        return Record(name, "done", flat, result, run=run, variant=self.label)

    def _refuse_changed_files(self, outcome: Outcome, run: Run) -> None:
        """Refuse a result of files that are not those at the start.

        Raises:
            StvmError: images or checkpoint changed while the trial ran.
        """
        settings, data = self.settings, self.settings.data
        images = run.get("images_sha256")
        # With a new memory: the first one keeps the digests of the start.
        if images and Contents(self.cache).of_images(settings) != run["images_content"]:
            roots = " or ".join(filter(None, (data.source_root, data.target_root)))
            raise StvmError(f"{roots}: files changed while they were read; run again")
        digest = settings.source.checkpoint_content
        if digest and outcome.source["sha256"] != digest:
            raise StvmError(
                f"{settings.source.source_checkpoint}: changed after the trial was named by what "
                "it holds; run again"
            )

    def _keep_files(self, outcome: Outcome) -> None:
        """Write the sample and, if asked for, the networks beside the record."""
        settings, results, name = self.settings, self.results, self.settings.hash()
        results.write_sample(name, outcome.sample)
        if not settings.compute.keep_model:
            return
        family = str(outcome.source.get("origin", outcome.source["family"]))
        path = results.model_path(name)
        save_network(outcome.network, path, outcome.classes, family)
        if outcome.adaptation:
            metric = results.metric_path(name)
            save_metric(outcome.adaptation, outcome.network, settings.method, metric)

    def _source_score(self, outcome: Outcome) -> dict[str, float]:
        """mIoU of the source model, once the trial that measures it has a record."""
        if source_row(self.settings) == self.settings:
            return {"miou": outcome.result["miou"]}
        miou = recorded_source_miou(self.settings, self.results, self.contents)
        return {} if miou is None else {"miou": miou}

    def _resumed(self) -> Run:
        """Facts about an interruption, if there was one."""
        run, resumed = Run(), self.checkpoint.resumed
        if resumed:
            run["resumed_from"] = resumed["iteration"]
            run["state_of"] = StateOf(device=resumed["device"], threads=resumed["threads"])
        if self.checkpoint.set_aside:
            run["state_set_aside"] = str(self.checkpoint.set_aside)
        return run


def _circumstances(started: str, clock: float, device: torch.device) -> Run:
    return {
        "started": started,
        "seconds": round(time.perf_counter() - clock, 2),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "stvm": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _peak_memory(mib: int | None) -> Run:
    return Run() if mib is None else Run(peak_memory_mib=mib)


def _network_package(name: str) -> Run:
    """Package and version of the code of others that builds a network; empty for our own."""
    package = find_network(name).package
    return Run(network_package=f"{package} {version(package)}") if package else Run()
