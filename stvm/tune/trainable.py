"""Ray Tune's trainable: the source model or a trial, in a worker process."""

import os
import platform
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ray import tune

from stvm.errors import StvmError
from stvm.files.locks import Held
from stvm.records.results import Results
from stvm.records.tensorboard_events import write_trial
from stvm.settings import build_settings
from stvm.source_model.ensure import ensure_source
from stvm.trial.freed_memory import give_memory_back
from stvm.trial.run_and_record import run_and_record
from stvm.tune.sharing import outcome

WATCH_EVERY_S = 5.0
"""Least seconds between reports of a study that does not prune by them."""


def trainable(config: dict[str, Any]) -> None:
    """Do one task and report once at its end; the record is the truth, the report is news.

    Nothing is raised: whatever goes wrong is reported as `error`, so that Tune neither hides the
    reason nor tries again.

    Args:
        config: dictionary with the key `task`, made by `stvm.tune.tasks.task_of`.
    """
    task = config["task"]
    try:
        tune.report(_do(task, _prepare(task)))
    except Held:
        # Another driver was the faster; ours comes back to it.
        tune.report({"status": "held"})
    except StvmError as error:
        tune.report({"error": str(error)})
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        where = _keep_traceback(Results(Path(task["results"])).error_path(task["name"]))
        tune.report({"error": f"{type(error).__name__}: {reason} ({where})"})
    finally:
        give_memory_back()


def _keep_traceback(path: Path) -> str:
    """Keep the traceback of the current error; a text that names its file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError as error:
        return f"no traceback: {path} cannot be written, {error.strerror}"
    return f"traceback in {path}"


def _prepare(task: dict[str, Any]) -> torch.device:
    """Directory, threads and device of a task, whatever the process did before.

    Raises:
        StvmError: a GPU is given that torch cannot use, or the folder is not on this node.
    """
    try:
        os.chdir(task["directory"])
    except OSError as error:
        raise StvmError(
            f"folder {task['directory']}: {error.strerror} on node {platform.node()}; "
            "all nodes must share the folder in which the study was started"
        ) from None
    torch.set_num_threads(task["threads"])
    if not task["gpu"]:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise StvmError(
            "Ray gave this trial a GPU that torch cannot use: install a CUDA build of torch that "
            "fits the driver, or run on the CPU with --gpus-per-trial 0"
        )
    torch.cuda.empty_cache()
    return torch.device("cuda")


def _do(task: dict[str, Any], device: torch.device) -> dict[str, Any]:
    settings = build_settings(task["settings"])
    cache = Path(task["cache"])
    reporter = _Reporter(task.get("report_every", 30.0), task.get("prunes", False))
    if task["kind"] == "source":
        sign = Path(task["sign"])
        ensure_source(settings, cache, device, reporter, task["keep_every"], task["waits"], sign)
        return {"status": "done"}
    results = Results(Path(task["results"]))
    record = run_and_record(
        settings,
        results,
        cache,
        device,
        task["label"],
        task["retry_failed"],
        reporter,
        task["keep_every"],
        task["waits"],
        task["failed"],
    )
    if task["tensorboard"]:
        write_trial(results, record)
    aside = record.run.get("state_set_aside")
    return outcome(record) | ({"set_aside": aside} if aside else {})


class _Reporter:
    """Tells Tune of the progress now and then.

    Args:
        every: seconds between reports.
        prunes: a scheduler judges the trial by every watch point.
    """

    def __init__(self, every: float, prunes: bool) -> None:
        self.every = every
        self.prunes = prunes
        self.last = time.monotonic()
        self.begun: int | None = None

    def __call__(self, done: int, total: int, watch: Mapping[str, Any] | None = None, /) -> None:
        """Report, if it is time.

        Args:
            done: iterations.
            total: iterations.
            watch: values without labels at this iteration; its `information` is reported.
        """
        # An oracle's source model may come first, with a count of its own.
        if self.begun is None or done <= self.begun:
            self.begun = done - 1
        since = time.monotonic() - self.last
        if watch is not None and (self.prunes or since > WATCH_EVERY_S):
            self._report(done, total, intermediate=watch["information"])
        elif since > self.every:
            self._report(done, total)

    def tell_pass(self, what: str, done: int, total: int) -> None:
        """Report images of a pass, if it is time."""
        if time.monotonic() - self.last > self.every:
            self.last = time.monotonic()
            tune.report({"pass": what, "image": done, "images": total})

    def _report(self, done: int, total: int, **more: Any) -> None:
        self.last = time.monotonic()
        tune.report({"iteration": done, "of": total, "begun": self.begun} | more)
