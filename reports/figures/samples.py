"""Sample predictions: reading their files, choosing trials to show, and the grid of pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stvm.data.classes import IGNORE_INDEX
from stvm.errors import StvmError
from stvm.files import unreadable
from stvm.records.manifest import Trial
from stvm.statistics import sort_key

SHOWN = ("Source", "ST_MT", "STvM")
"""Rows of the ablation that pictures show."""
IMAGES = 3
"""Most test images that pictures show."""


@dataclass(frozen=True)
class Sample:
    """Predictions of one trial on a few images; k images of H x W pixels.

    Attributes:
        images: colours (k, H, W, 3), uint8.
        labels: class of each pixel (k, H, W), uint8, 255 for none; for evaluation only.
        predictions: predicted class of each pixel (k, H, W), uint8.
        palette: colour of each class (C, 3), uint8.
        miou: mIoU of the trial over the whole split, as a fraction.
        reliability: weights (k, H, W) from 0 to 1; None for a trial without metric network.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    predictions: NDArray[np.uint8]
    palette: NDArray[np.uint8]
    miou: float
    reliability: NDArray[np.float32] | None


def sample_path(results: Path, trial: Trial) -> Path:
    """File with the samples of a trial; it may be missing."""
    return results / "samples" / f"{trial.hash}.npz"


def read_sample(path: Path) -> Sample:
    """Samples in a file.

    Raises:
        StvmError: the file is unreadable, or an array is missing or has another shape.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        sample = Sample(
            arrays["images"],
            arrays["labels"],
            arrays["predictions"],
            arrays["palette"],
            float(arrays["miou"]),
            arrays.get("reliability"),
        )
    except KeyError as error:
        raise StvmError(f"cannot read {path}: no array {error}; evaluate the trial again") from None
    except (OSError, ValueError, EOFError, BadZipFile, TypeError, MemoryError) as error:
        raise unreadable(path, error, "move it away and run the trial again") from None
    maps = [sample.labels, sample.predictions]
    maps += [] if sample.reliability is None else [np.asarray(sample.reliability)]
    if sample.images.ndim != 4 or any(a.shape != sample.images.shape[:3] for a in maps):
        raise StvmError(f"cannot read {path}: shapes of images and maps differ")
    return sample


def choose_trials(results: Path, trials: Sequence[Trial]) -> dict[str, Trial]:
    """The trial to show of each row: fresh realisations first, then the lowest numbers.

    Raises:
        StvmError: no realisation and seed for which every shown row has samples.
    """
    have = {
        (t.variant, t.realisation, t.seed): t
        for t in trials
        if t.variant in SHOWN and sample_path(results, t).exists()
    }
    last = [t for t in have.values() if t.variant == SHOWN[-1]]
    for t in sorted(last, key=lambda t: (t.tuned, sort_key((t.realisation, t.seed)))):
        keys = [[(row, t.realisation, seed) for seed in (t.seed, None)] for row in SHOWN]
        found = [next((have[k] for k in pair if k in have), None) for pair in keys]
        if all(found):
            return {trial.variant: trial for trial in found if trial}
    raise StvmError(
        f"no samples of {', '.join(SHOWN)} with one realisation and seed in {results / 'samples'}: "
        "run `python studies/ablation.py` first"
    )


def caption(trials: Mapping[str, Trial]) -> str:
    """Realisation and seed of the chosen trials, for people."""
    last = trials[SHOWN[-1]]
    state = "used for tuning" if last.tuned else "fresh"
    drawn = f"realisation {last.realisation} ({state}), " if last.drawn else ""
    return f"{drawn}seed {last.seed}"


def _coloured(labels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    coloured: NDArray[np.uint8] = table[labels]
    return coloured


def _correctness(sample: Sample) -> NDArray[np.float64]:
    right = (sample.labels == sample.predictions).astype(np.float64)
    return np.where(sample.labels == IGNORE_INDEX, 0.6, right)


def picture_columns(samples: dict[str, Sample]) -> list[tuple[str, NDArray[np.generic]]]:
    """Title and k pictures of each column: uint8 colours, or grey from 0 to 1."""
    first, last = samples[SHOWN[0]], samples[SHOWN[-1]]
    columns: list[tuple[str, NDArray[np.generic]]] = [
        ("Target image", first.images),
        ("Label\n(evaluation only)", _coloured(first.labels, first.palette)),
    ]
    for name, sample in samples.items():
        title = f"{name}\nmIoU {100 * sample.miou:.1f}"
        columns.append((title, _coloured(sample.predictions, sample.palette)))
    if last.reliability is not None:
        columns.append((f"{SHOWN[-1]} reliability\nblack 0, white 1", last.reliability))
    columns.append((f"{SHOWN[-1]} errors\nblack wrong, grey ignored", _correctness(last)))
    return columns


def draw_grid(samples: dict[str, Sample], caption: str) -> Figure:
    """Three images, a row each: image, label, predictions, reliability, errors.

    Raises:
        StvmError: the samples show different images.
    """
    first = samples[SHOWN[0]]
    for name, sample in samples.items():
        if not np.array_equal(sample.images, first.images):
            raise StvmError(f"samples of {name} and {SHOWN[0]} show different images: run both")
    columns = picture_columns(samples)
    rows = min(IMAGES, len(first.images))
    height, width = first.images.shape[1:3]
    size = 1.75
    figure = Figure(
        figsize=(size * len(columns), size * rows * height / width + 0.75), layout="constrained"
    )
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for column, (title, pictures) in enumerate(columns):
        axes[0, column].set_title(title, fontsize=9)
        for row in range(rows):
            axes[row, column].imshow(
                pictures[row], cmap="gray", vmin=0, vmax=1, interpolation="nearest"
            )
            axes[row, column].set_axis_off()
    figure.supxlabel(caption, fontsize=8, wrap=True)
    return figure
