"""Pictures in the page: predictions on test images, and the plots that the search wrote."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reports.figures.samples import (
    IMAGES,
    SHOWN,
    caption,
    choose_trials,
    picture_columns,
    read_sample,
    sample_path,
)
from reports.page.recorded_studies import Recorded
from reports.page.svg import data_url, to_png
from stvm.errors import StvmError
from stvm.files import checked_name, unreadable
from stvm.records.manifest import Manifest, Trial, command

_WIDEST = 480


@dataclass(frozen=True)
class Picture:
    """An image in the page.

    Attributes:
        url: the image itself, as a data URL.
        title: text above the image.
        alt: description for readers who do not see it.
        width: width in pixels.
        height: height in pixels.
    """

    url: str
    title: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Swatch:
    """A class in the legend of the maps.

    Attributes:
        name: name of the class.
        colour: colour in the maps, as in "#804080".
    """

    name: str
    colour: str


@dataclass(frozen=True)
class Pictures:
    """Predictions of some trials on test images.

    Attributes:
        caption: sentence that names realisation and seed.
        trials: one trial of each shown row.
        images: pictures of each test image.
        classes: classes that occur, with their colours.
    """

    caption: str
    trials: tuple[Trial, ...]
    images: tuple[tuple[Picture, ...], ...]
    classes: tuple[Swatch, ...]


def _pixels(picture: NDArray[np.generic]) -> NDArray[np.uint8]:
    grey = picture.ndim == 2
    array = np.asarray(picture, dtype=np.float64) if grey else picture
    scaled = np.clip(np.rint(255 * array), 0, 255).astype(np.uint8) if grey else array
    height, width = scaled.shape[:2]
    if width <= _WIDEST:
        return np.asarray(scaled, dtype=np.uint8)
    size = (_WIDEST, round(height * _WIDEST / width))
    small = Image.fromarray(scaled.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    return np.asarray(small, dtype=np.uint8)


def _picture(title: str, pixels: NDArray[np.uint8], number: int) -> Picture:
    height, width = pixels.shape[:2]
    alt = f"Test image {number + 1}: {title.replace(chr(10), ', ')}"
    return Picture(to_png(pixels), title, alt, width, height)


def predictions(recorded: Recorded, study: Manifest) -> Pictures | None:
    """Image, label, predictions, reliability and errors; None without samples of all rows.

    Raises:
        StvmError: a file of samples is unreadable, or they show different images.
    """
    listed = [trial for trial in study.trials if recorded.is_done(trial.hash)]
    try:
        trials = choose_trials(recorded.root, listed)
    except StvmError:
        return None
    paths = {row: sample_path(recorded.root, trial) for row, trial in trials.items()}
    samples = {row: read_sample(path) for row, path in paths.items()}
    first, last = samples[SHOWN[0]], trials[SHOWN[-1]]
    for row, sample in samples.items():
        if not np.array_equal(sample.images, first.images):
            raise StvmError(
                f"samples of {trials[row]} show other images than those of {trials[SHOWN[0]]}: "
                f"move {paths[row]} and {paths[SHOWN[0]]} and their records away, and run "
                f"`{command(study.study)}` again"
            )
    columns = [(title, pictures) for title, pictures in picture_columns(samples)]
    images = tuple(
        tuple(_picture(title, _pixels(pictures[k]), k) for title, pictures in columns)
        for k in range(min(IMAGES, len(first.images)))
    )
    seen = sorted({int(c) for s in samples.values() for c in np.unique(s.predictions)})
    names = recorded.entries[last.hash].result.get("class_names") or []
    swatches = tuple(
        Swatch(names[c], "#" + bytes(first.palette[c]).hex())
        for c in seen
        if c < len(names) and c < len(first.palette)
    )
    text = caption(trials)
    return Pictures(f"{text[:1].upper()}{text[1:]}.", tuple(trials.values()), images, swatches)


def search_plots(results: Path, name: object) -> tuple[Picture, ...]:
    """Plots that a search wrote as PNG files; none where its manifest has no name.

    Args:
        results: results folder.
        name: name of the search in Optuna's storage.

    Raises:
        StvmError: one is no image.
    """
    try:
        folder = results / "searches" / checked_name(str(name or ""), "the search")
    except StvmError:
        return ()
    return tuple(_plot(path) for path in sorted(folder.glob("*.png")))


def _plot(path: Path) -> Picture:
    try:
        data = path.read_bytes()
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, MemoryError) as error:
        raise unreadable(path, error, "run the search again") from None
    title = path.stem.replace("_", " ").capitalize()
    return Picture(data_url(data), title, f"Plot of the search: {title}", width, height)
