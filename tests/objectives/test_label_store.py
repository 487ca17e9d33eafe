"""Labels of offline passes on disk."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from stvm.data.crops import TargetCrops
from stvm.errors import StvmError
from stvm.objectives.label_store import CropsWithLabels, LabelStore, round_folder


class Channels:
    """Images whose red channel numbers their pixels."""

    def __len__(self) -> int:
        return 3

    def image(self, index: int) -> Any:
        image = np.zeros((10, 12, 3), np.uint8)
        image[..., 0] = np.arange(120).reshape(10, 12) + 40 * index
        return image


def filled(folder: Path, count: int = 3) -> LabelStore:
    store = LabelStore(folder, 3, (10, 12), "network")
    for index in range(count):
        store.write(index, torch.from_numpy(Channels().image(index)[..., 0].astype(np.int64)))
        store.save(index + 1, sums=np.array([index, 7]))
    return store


def test_labels_are_kept_and_255_stands_for_those_not_written(tmp_path: Path) -> None:
    store = filled(tmp_path / "round-1", 1)
    assert store.done == 1 and not store.complete
    assert torch.equal(store.read(0), torch.arange(120).view(10, 12).byte())
    assert store.read(2).unique().tolist() == [255]
    assert (tmp_path / "round-1" / "labels.u8").stat().st_size == 3 * 120


def test_an_interrupted_pass_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    again = LabelStore(tmp_path, 3, (10, 12), "network")
    assert again.done == 2 and again.kept["sums"].tolist() == [1, 7]
    assert again.read(1)[0, 0] == 40


@pytest.mark.parametrize(
    "changes", [{"identity": "other"}, {"count": 4}, {"size": (12, 10)}], ids=str
)
def test_labels_of_another_pass_are_made_anew(changes: dict[str, Any], tmp_path: Path) -> None:
    filled(tmp_path)
    again = LabelStore(tmp_path, **{"count": 3, "size": (10, 12), "identity": "network"} | changes)
    assert again.done == 0 and again.read(0).unique().tolist() == [255]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_progress_that_was_cut_costs_one_pass(share: float, tmp_path: Path) -> None:
    filled(tmp_path)
    progress = tmp_path / "progress.npz"
    content = progress.read_bytes()
    progress.write_bytes(content[: round(len(content) * share)])
    assert LabelStore(tmp_path, 3, (10, 12), "network", begin=False).done == 0
    again = LabelStore(tmp_path, 3, (10, 12), "network")
    assert again.done == 0 and again.read(0).unique().tolist() == [255]


def test_a_progress_with_a_spoilt_part_counts_nothing(tmp_path: Path) -> None:
    filled(tmp_path)
    progress = tmp_path / "progress.npz"
    content = bytearray(progress.read_bytes())
    # The array of the pass, which its checksum no longer fits.
    content[content.index(np.array([2, 7]).tobytes())] ^= 255
    progress.write_bytes(bytes(content))
    store = LabelStore(tmp_path, 3, (10, 12), "network", begin=False)
    assert store.done == 0 and store.kept == {}


@pytest.mark.parametrize("name", ["labels.u8", "progress.npz"])
def test_damaged_labels_are_made_anew(name: str, tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / name).write_bytes(b"x")
    assert LabelStore(tmp_path, 3, (10, 12), "network").done == 0


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int = 2**20

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage())
    with pytest.raises(StvmError, match=r"labels of 3 images of 10x12 take 0 MiB, and 1 MiB are"):
        filled(tmp_path / "round-1")
    assert not (tmp_path / "round-1" / "labels.u8").exists()


def test_crops_of_labels_are_cut_with_the_very_crop(tmp_path: Path) -> None:
    filled(round_folder(tmp_path, 1))
    store = LabelStore(round_folder(tmp_path, 2), 3, (10, 12), "later")
    for index in range(3):
        store.write(index, torch.full((10, 12), index))
    crops = CropsWithLabels(TargetCrops(Channels(), (5, 6), 0, 12), (10, 12), tmp_path, [6, 12])
    for position in range(6):
        crop, labels = crops[position]
        assert labels.dtype == torch.uint8 and torch.equal(crop[0], labels)
    for position in range(6, 12):
        assert crops[position][1].unique().tolist() == [crops.crops.cut(position)[1]]


def test_crops_reach_every_edge_of_an_image() -> None:
    crops = TargetCrops(Channels(), (9, 11), 0, 60)
    corners = {crops.cut(position)[2:] for position in range(60)}
    assert corners == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert TargetCrops(Channels(), (10, 12), 0, 3).cut(1)[2:] == (0, 0)
