"""Loading processes: what goes wrong in one is told as it is told without."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stvm.data.classes import ClassList
from stvm.data.crops import LabelledCrops, TargetCrops, batches
from stvm.data.folder import FolderImages, LabelledFolder
from stvm.errors import StvmError

CLASSES = ClassList(("road", "sky"), (0, 1))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part, shape in (("images", (32, 32, 3)), ("labels", (32, 32))):
        (tmp_path / "train" / part).mkdir(parents=True)
        for name in "abcd":
            Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / f"train/{part}/{name}.png")
    return tmp_path


def first_error(root: Path, workers: int, labelled: bool) -> str:
    size, length = (16, 16), 8
    crops: TargetCrops | LabelledCrops
    if labelled:
        images = LabelledFolder(root, "train", 32, 32, CLASSES)
        crops = LabelledCrops(images, size, 0, length, 0.0, 0.0, 2)
    else:
        crops = TargetCrops(FolderImages(root, "train", 32, 32), size, 0, length)
    with pytest.raises(StvmError) as caught:
        list(batches(crops, 2, workers))  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("part", ["images", "labels"])
def test_a_damaged_file_is_one_line_with_and_without_processes(root: Path, part: str) -> None:
    path = root / f"train/{part}/c.png"
    path.write_bytes(path.read_bytes()[:45])
    alone = first_error(root, workers=0, labelled=part == "labels")
    assert alone.startswith(f"{path}: cannot be read as PNG") and "\n" not in alone
    assert first_error(root, workers=1, labelled=part == "labels") == alone


class Deadly(TargetCrops):
    """Its process is killed."""

    def __getitem__(self, position: int) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(position)


@pytest.mark.slow
def test_a_loading_process_that_is_killed_is_one_line(root: Path) -> None:
    crops = Deadly(FolderImages(root, "train", 32, 32), (16, 16), 0, 8)
    with pytest.raises(StvmError, match=r"loads images was killed: .*lower workers=1$"):
        list(batches(crops, 2, workers=1))
