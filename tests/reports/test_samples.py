"""Sample predictions: the trials that are shown, and the pictures that are made of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.figures.samples import (
    Sample,
    caption,
    choose_trials,
    draw_grid,
    picture_columns,
    read_sample,
    sample_path,
)
from stvm.errors import StvmError
from stvm.records.manifest import Trial

COLOURS = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)


def sample(predictions: list[list[int]], miou: float = 0.5, **changes: Any) -> Sample:
    """One image of one row; the label is class 0, class 1, none."""
    pictures = np.arange(9, dtype=np.uint8).reshape(1, 1, 3, 3)
    labels = np.array([[[0, 1, 255]]], np.uint8)
    predicted = np.array([predictions], np.uint8)
    return Sample(**{
        "images": pictures, "labels": labels, "predictions": predicted,
        "palette": COLOURS, "miou": miou, "reliability": None,
    } | changes)  # fmt: skip


def trial(variant: str, seed: int | None, realisation: int = 0, tuned: bool = False) -> Trial:
    return Trial(f"{variant}-{seed}-{realisation}", variant, seed, realisation, tuned)


def keep(root: Path, trials: list[Trial]) -> None:
    for one in trials:
        path = sample_path(root, one)
        path.parent.mkdir(exist_ok=True)
        path.touch()


def test_a_fresh_realisation_is_shown_before_one_that_settings_were_chosen_on(
    tmp_path: Path,
) -> None:
    tuned = [trial("Source", None, 0, True), trial("ST_MT", 0, 0, True), trial("STvM", 0, 0, True)]
    fresh = [trial("Source", None, 7), trial("ST_MT", 2, 7), trial("STvM", 2, 7)]
    alone = [trial("STvM", 1, 7), trial("Source", None, 3), trial("STvM", 0, 3)]
    trials = [*alone, *tuned, *fresh]
    with pytest.raises(StvmError, match="no samples of Source, ST_MT, STvM"):
        choose_trials(tmp_path, trials)
    keep(tmp_path, [*alone, *tuned])
    assert list(choose_trials(tmp_path, trials).values()) == tuned
    keep(tmp_path, fresh)
    shown = choose_trials(tmp_path, trials)
    assert list(shown.values()) == fresh
    assert caption(shown) == "realisation 7 (fresh), seed 2"


def test_pictures_have_the_colours_of_their_classes_and_errors_are_black() -> None:
    weights = np.array([[[0.0, 0.25, 1.0]]], np.float32)
    samples = {
        "Source": sample([[1, 1, 1]], 0.25),
        "ST_MT": sample([[0, 0, 0]], 0.5),
        "STvM": sample([[0, 0, 1]], 0.75, reliability=weights),
    }
    columns = picture_columns(samples)
    assert [title.split("\n")[0] for title, _ in columns] == [
        *("Target image", "Label", "Source", "ST_MT", "STvM"),
        *("STvM reliability", "STvM errors"),
    ]
    titles, pictures = zip(*columns, strict=True)
    assert [title.split("\n")[1] for title in titles[2:5]] == [
        *("mIoU 25.0", "mIoU 50.0", "mIoU 75.0")
    ]
    assert pictures[1].tolist() == [[[[10, 20, 30], [40, 50, 60], [0, 0, 0]]]]
    assert pictures[2].tolist() == [[[[40, 50, 60]] * 3]]
    assert pictures[5].tolist() == weights.tolist()
    # Right is white, wrong is black, a pixel without a label is grey.
    assert pictures[6].tolist() == [[[1.0, 0.0, 0.6]]]
    assert [axes.get_title() for axes in draw_grid(samples, "").axes] == list(titles)


def test_samples_of_other_images_are_not_shown_beside_each_other() -> None:
    other = sample([[0, 0, 0]], images=np.zeros((1, 1, 3, 3), np.uint8))
    with pytest.raises(StvmError, match="samples of STvM and Source show different images"):
        draw_grid({"Source": sample([[0, 0, 0]]), "STvM": other}, "")


def test_a_file_without_an_array_or_with_another_shape_is_one_line(tmp_path: Path) -> None:
    arrays = vars(sample([[0, 1, 1]], 0.5)) | {"miou": np.array(0.5)}
    arrays.pop("reliability")
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    found = read_sample(path)
    assert found.miou == 0.5 and found.reliability is None
    assert found.predictions.tolist() == [[[0, 1, 1]]]
    np.savez(path, **arrays | {"reliability": np.zeros((1, 2, 3), np.float32)})
    with pytest.raises(StvmError, match="a.npz: shapes of images and maps differ"):
        read_sample(path)
    arrays.pop("palette")
    np.savez(path, **arrays)
    with pytest.raises(StvmError, match="a.npz: no array 'palette"):
        read_sample(path)
