"""Labels of an offline pass on disk: one byte for each pixel of the target images.

    FOLDER/round-N/labels.u8       labels of all images, one after another, 255 for none
    FOLDER/round-N/progress.npz    progress of the pass, and small arrays that it needs to go on

Probabilities are never kept. An interrupted pass goes on where it was saved last.
"""

import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stvm.data.crops import Positions, TargetCrops
from stvm.data.images import Images
from stvm.errors import StvmError
from stvm.files import write_whole, writing

SPARE = 64 * 2**20
"""Bytes that must stay free beside the labels."""


class LabelStore:
    """The labels of one round.

    Args:
        folder: Folder of the round; made if it is missing.
        count: Number of images.
        size: Height and width of each in pixels.
        identity: Text that names trial and labelling network. Labels of others are made anew.
        begin: Whether labels begin anew if there are none; without it nothing is written.

    Attributes:
        done: Number of images that the pass has saved, in order.
        kept: Arrays that were saved with them, by name.
        drawn: States of torch's generators at that point, of the CPU first; empty at the beginning.

    Raises:
        StvmError: No space, or no permission.
    """

    def __init__(
        self, folder: Path, count: int, size: tuple[int, int], identity: str, begin: bool = True
    ) -> None:
        self.folder = folder
        self.count = count
        self.size = size
        self.identity = identity
        self.done = 0
        self.kept: dict[str, NDArray[Any]] = {}
        self.drawn: list[NDArray[Any]] = []
        if not self._found() and begin:
            self._begin()

    @property
    def complete(self) -> bool:
        """Whether all images have their labels."""
        return self.done == self.count

    def write(self, index: int, labels: Tensor) -> None:
        """Writes the labels (H, W) of an image, whole numbers up to 255; `save` then counts it.

        Raises:
            StvmError: No space left.
        """
        content = labels.to(torch.uint8).cpu().contiguous().numpy()
        assert content.shape == self.size, (content.shape, self.size)
        with writing(self.folder), open(self.folder / "labels.u8", "r+b") as file:
            file.seek(index * content.size)
            file.write(content.tobytes())

    def save(self, done: int, **kept: NDArray[Any]) -> None:
        """Notes that the first `done` images have their labels, and what torch has drawn.

        Args:
            done: Number of images.
            kept: Arrays from which the pass can go on after image `done`.

        Raises:
            StvmError: No space left.
        """
        with writing(self.folder), open(self.folder / "labels.u8", "rb") as file:
            os.fsync(file.fileno())
        content = io.BytesIO()
        arrays: dict[str, Any] = {"identity": np.array(self._facts()), "done": np.array(done)}
        arrays |= {f"kept_{name}": value for name, value in kept.items()}
        arrays |= {f"drawn_{number}": one for number, one in enumerate(_drawn())}
        np.savez(content, **arrays)
        write_whole(self.folder / "progress.npz", content.getbuffer())
        self.done, self.kept = done, kept

    def read(self, index: int) -> Tensor:
        """Labels (H, W) uint8 of an image."""
        return read_labels(self.folder, index, self.size, (0, 0), self.size)

    def restore_random(self) -> None:
        """Sets torch's generators to what an interrupted pass had drawn when it was saved."""
        for number, state in enumerate(self.drawn):
            kept = torch.from_numpy(state)
            if number == 0:
                torch.set_rng_state(kept)
            elif number <= torch.cuda.device_count():
                torch.cuda.set_rng_state(kept, number - 1)

    def _facts(self) -> str:
        return f"{self.identity} {self.count} {self.size[0]}x{self.size[1]}"

    def _found(self) -> bool:
        """Whether the folder holds labels of the same pass, which are then taken up."""
        try:
            with np.load(self.folder / "progress.npz") as found:
                if str(found["identity"]) != self._facts():
                    return False
                size = (self.folder / "labels.u8").stat().st_size
                if size != self.count * self.size[0] * self.size[1]:
                    return False
                done = int(found["done"])
                names = [name for name in found.files if name.startswith("kept_")]
                kept = {name.removeprefix("kept_"): found[name] for name in names}
                drawn = [name for name in found.files if name.startswith("drawn_")]
                states = [found[f"drawn_{number}"] for number in range(len(drawn))]
        # A damaged or missing file costs one pass.
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
            return False
        self.done, self.kept, self.drawn = done, kept, states
        return True

    def _begin(self) -> None:
        with writing(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
        check_room(self.folder, self.count, self.size)
        empty = np.full(self.size, 255, np.uint8).tobytes()
        with writing(self.folder), open(self.folder / "labels.u8", "wb") as file:
            for _ in range(self.count):
                file.write(empty)
        self.save(0)


def _drawn() -> list[NDArray[Any]]:
    """States of torch's generators, of the CPU first."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [state.numpy() for state in (torch.get_rng_state(), *gpus)]


def read_labels(
    folder: Path, index: int, image: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """Labels of a crop (h, w) uint8.

    Args:
        folder: Folder of a round.
        index: Index of the image.
        image: Height and width of each image.
        corner: First row and column.
        size: Height and width of the crop.
    """
    height, width = size
    top, left = corner
    with open(folder / "labels.u8", "rb") as file:
        file.seek((index * image[0] + top) * image[1])
        rows = np.frombuffer(file.read(height * image[1]), np.uint8).reshape(height, image[1])
    return torch.from_numpy(rows[:, left : left + width].copy())


def check_room(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Refuses labels for which the disk has no room.

    Args:
        folder: Folder that exists.
        count: Number of images.
        size: Height and width of each in pixels.

    Raises:
        StvmError: The message names folder, need and room.
    """
    need, free = count * size[0] * size[1], shutil.disk_usage(folder).free
    if free < need + SPARE:
        raise StvmError(
            f"{folder}: labels of {count} images of {size[0]}x{size[1]} take "
            f"{need / 2**20:.0f} MiB, and {free / 2**20:.0f} MiB are free: make room there, "
            "or name another folder with --results"
        )


class CropsWithLabels(Positions[tuple[Tensor, Tensor]]):
    """Crops (3, h, w) uint8 with the labels (h, w) uint8 of the very same pixels.

    Args:
        crops: Crops without labels.
        image_size: Height and width of the images in pixels.
        folder: Folder of the labels of all rounds.
        ends: Positions at which the rounds end, in order.
    """

    def __init__(
        self, crops: TargetCrops, image_size: tuple[int, int], folder: Path, ends: list[int]
    ) -> None:
        self.crops = crops
        self.image_size = image_size
        self.folder = folder
        self.ends = ends
        self.length = crops.length

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        crop, index, top, left = self.crops.cut(position)
        number = next(n for n, end in enumerate(self.ends, 1) if position < end)
        place = round_folder(self.folder, number)
        return crop, read_labels(place, index, self.image_size, (top, left), self.crops.size)


def round_folder(folder: Path, number: int) -> Path:
    """Folder of the labels of a round, counted from 1."""
    return folder / f"round-{number}"


def image_size(images: Images) -> tuple[int, int]:
    """Height and width of the images in pixels."""
    height, width = images.image(0).shape[:2]
    return int(height), int(width)
