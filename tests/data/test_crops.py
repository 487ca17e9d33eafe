"""Cache and crops: what is drawn depends on seed and position, and targets have no labels."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from stvm.data.crops import LabelledCrops, TargetCrops, batches, image_at
from stvm.data.datasets import open_source, open_target_images, open_target_labelled
from stvm.data.streets.street_images import LabelledArrays
from stvm.errors import StvmError
from stvm.settings import DataSettings
from stvm.source_model.supervised import class_weights

DATA = DataSettings(source_images=6, target_images=5, eval_images=3)


def test_splits_domains_and_realisations_are_different_images(tmp_path: Path) -> None:
    firsts = [
        open_source(DATA, "train", tmp_path).image(0),
        open_source(DATA, "val", tmp_path).image(0),
        open_target_images(DATA, tmp_path).image(0),
        open_target_labelled(DATA, "val", tmp_path).image(0),
        open_target_labelled(DATA, "test", tmp_path).image(0),
        open_source(DATA.model_copy(update={"realisation": 1}), "train", tmp_path).image(0),
    ]
    assert len({image.tobytes() for image in firsts}) == len(firsts)


def test_the_cache_is_written_once_and_read_again(tmp_path: Path) -> None:
    first = open_source(DATA, "train", tmp_path)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.npy")}
    again = open_source(DATA, "train", tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.npy")} == files
    assert len(again) == 6
    np.testing.assert_array_equal(first.label(3), again.label(3))


def test_target_training_images_come_without_their_labels(tmp_path: Path) -> None:
    images = open_target_images(DATA, tmp_path)
    for path in tmp_path.rglob("labels.npy"):
        path.unlink()
    again = open_target_images(DATA, tmp_path)
    assert not hasattr(again, "label")
    np.testing.assert_array_equal(images.image(2), again.image(2))


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StvmError, match="No space left on device.*make room"):
        open_source(DATA, "train", tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.suffix != ".lock" and p.name != "streets"]


def test_a_damaged_cache_names_the_folder_to_delete(tmp_path: Path) -> None:
    open_source(DATA, "train", tmp_path)
    path = next(tmp_path.rglob("images.npy"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StvmError, match=f"cannot read {path}.*delete"):
        open_source(DATA, "train", tmp_path)


def test_an_epoch_shows_every_image_once() -> None:
    assert sorted(image_at(3, p, 7) for p in range(7)) == list(range(7))
    assert [image_at(3, p, 7) for p in range(7)] != [image_at(3, p, 7) for p in range(7, 14)]


def test_crops_do_not_depend_on_workers_or_batches(tmp_path: Path) -> None:
    crops = TargetCrops(open_target_images(DATA, tmp_path), (32, 48), seed=1, length=8)
    alone = torch.stack([crops[p] for p in range(8)])
    assert alone.shape == (8, 3, 32, 48)
    torch.testing.assert_close(torch.cat(list(batches(crops, 4, workers=0))), alone)
    torch.testing.assert_close(torch.cat(list(batches(crops, 2, workers=2))), alone)


@pytest.mark.slow
def test_rare_crops_hold_each_class_about_equally_often(tmp_path: Path) -> None:
    images = open_source(DATA.model_copy(update={"source_images": 60}), "train", tmp_path)

    def share(rare: float, label: int) -> float:
        crops = LabelledCrops(images, (24, 24), 0, 300, rare, 0.0, 19)
        return float(np.mean([(crops[p][1] == label).any() for p in range(300)]))

    light = 6
    assert share(1.0, light) > 2 * share(0.0, light)


def test_a_crop_is_centred_on_a_rare_class_where_an_image_holds_eight_pixels_of_it() -> None:
    labels = np.zeros((3, 32, 32), np.uint8)
    labels[0, 0, :7] = 1
    labels[1, 20, :8] = 1
    labels[2, 31, :7] = 2
    images = LabelledArrays(np.zeros((3, 32, 32, 3), np.uint8), labels)
    crops = LabelledCrops(images, (16, 16), 0, 60, 1.0, 0.0, 4)
    assert [(c, list(rows)) for c, rows in crops.holders] == [(0, [0, 1, 2]), (1, [1])]
    holding = [bool((crops[p][1] == 1).any()) for p in range(60)]
    assert 20 < sum(holding) < 60


def test_zoomed_crops_keep_size_and_ids(tmp_path: Path) -> None:
    crops = LabelledCrops(open_source(DATA, "train", tmp_path), (32, 32), 0, 20, 0.0, 0.5, 19)
    for image, label in (crops[p] for p in range(20)):
        assert image.shape == (3, 32, 32) and image.dtype == torch.uint8
        assert label.shape == (32, 32) and int(label.max()) < 19


def test_class_weights_are_median_frequency_over_frequency() -> None:
    labels = np.full((2, 4, 5), 255, np.uint8)
    labels[0, :2] = 0
    labels[0, 2, :4] = 1
    labels[1, 0, :2] = 1
    labels[1, 1, 0] = 2
    images = LabelledArrays(np.zeros((2, 4, 5, 3), np.uint8), labels)
    frequency = {0: 10 / 20, 1: 6 / 40, 2: 1 / 20}
    expected = [6 / 40 / frequency[c] for c in range(3)] + [1.0]
    np.testing.assert_allclose(class_weights(images, 4, 1.0).numpy(), expected, rtol=1e-6)
    halves = class_weights(images, 4, 0.5).numpy()
    np.testing.assert_allclose(halves, np.sqrt(expected), rtol=1e-6)
