"""A recorded trial as TensorBoard event files: curves and sample predictions."""

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stvm.errors import StvmError
from stvm.files import drop_unfinished, replacing_folder, writing
from stvm.records.passed_over import going_on
from stvm.records.record import Record
from stvm.records.results import Results

EVALUATION = "evaluation only, target labels"
"""Group of the scalars that need target labels."""


def require_tensorboard() -> None:
    """Look for the package before anything is started.

    Raises:
        StvmError: it is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise StvmError(
            '--tensorboard needs the package tensorboard: pip install -e ".[tensorboard]"'
        )


def write_trial(results: Results, record: Record) -> None:
    """Event files of a trial below `tensorboard/HASH`, whole or not at all, unless they stand.

    Raises:
        StvmError: they cannot be written.
    """
    name = record.hash
    folder = results.events_path(name)
    if folder.exists():
        return
    with results.lock(name), writing(folder.parent):
        drop_unfinished(folder)
        if not folder.exists():
            with replacing_folder(folder) as half:
                _write(half, record, results.sample_path(name))


def write_missing(
    results: Results, names: Iterable[str], passed_over: list[str] | None = None
) -> None:
    """Event files of trials that were recorded without them.

    Args:
        results: folder of records and event files.
        names: hashes of the trials.
        passed_over: list for a line on each record that cannot be read; without a list such a
            record is an error.

    Raises:
        StvmError: a record cannot be read, or the files cannot be written.
    """
    for name in names:
        record = None
        with going_on(passed_over):
            record = results.read(name)
        if record:
            write_trial(results, record)


def _write(folder: Path, record: Record, sample: Path) -> None:
    # Imported here: it takes a second, and few studies ask for it.
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for tag, step, value in scalars(record):
            writer.add_scalar(tag, value, step)
        writer.add_text("trial", _summary(record))
        if sample.exists():
            with np.load(sample, allow_pickle=False) as arrays:
                pictures = strips(dict(arrays))
            for index, picture in enumerate(pictures):
                writer.add_image(f"image, label and prediction/{index}", picture, dataformats="HWC")


def scalars(record: Record) -> list[tuple[str, int, float]]:
    """Tag, iteration and value of every number of a record that has one."""
    result: Mapping[str, Any] = record.result
    found = [
        (f"{group}/{name}", int(point["iteration"]), float(value))
        for group, key in (("training", "curve"), ("target without labels", "watch"))
        for point in result.get(key) or ()
        for name, value in point.items()
        if name not in ("iteration", "shares") and value is not None
    ]
    last = int(result.get("iteration") or 0)
    found += [
        (f"label-free scores/{name}", last, float(value))
        for name, value in (result.get("scores") or {}).items()
        if value is not None
    ]
    found += [
        (f"{EVALUATION}/{name}", last, float(result[name]))
        for name in ("miou", "pixel_accuracy")
        if result.get(name) is not None
    ]
    return found


def strips(sample: Mapping[str, NDArray[Any]]) -> list[NDArray[np.uint8]]:
    """Image, label and prediction side by side, (H, 3 W, 3) each."""
    palette = np.full((256, 3), 0, np.uint8)
    palette[: len(sample["palette"])] = sample["palette"]
    triples = zip(sample["images"], sample["labels"], sample["predictions"], strict=True)
    return [np.hstack([pixels, palette[label], palette[p]]) for pixels, label, p in triples]


def _summary(record: Record) -> str:
    settings = "\n".join(f"    {name} = {value}" for name, value in record.settings.items())
    failure = record.failure.get("error", "")
    return f"{record.variant}: {record.status} {failure}\n\n{settings}"
