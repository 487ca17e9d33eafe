"""Names that are nearly right, and folders at another level: what is there is said."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stvm.data.classes import ClassList
from stvm.data.folder import FolderImages, LabelledFolder
from stvm.data.published.dataset_layouts import CITYSCAPES, GTA5
from stvm.data.published.splits import DatasetSplit
from stvm.errors import StvmError
from tests.helpers.tiny_datasets import make_cityscapes, make_gta5

HEIGHT, WIDTH = 6, 8


def save(path: Path, array: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    for name in "abc":
        save(made / f"train/images/{name}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        save(made / f"train/labels/{name}.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    return made


def labelled(root: Path) -> LabelledFolder:
    return LabelledFolder(root, "train", HEIGHT, WIDTH, ClassList(("road",), (0,)))


def test_a_label_whose_name_is_nearly_right_is_told(root: Path) -> None:
    label = root / "train/labels/b.png"
    for name, message in {
        "b.PNG": r"; b\.PNG is there: rename it to b\.png$",
        "b.jpg": r"; b\.jpg is there, but JPEG changes ids: save the ids as PNG$",
        "b.tif": r"; b\.tif is there: save it as b\.png$",
    }.items():
        other = label.rename(label.with_name(name))
        with pytest.raises(StvmError, match=message):
            labelled(root)
        other.rename(label)


def test_a_label_is_found_by_the_other_unicode_form_of_its_name(root: Path) -> None:
    # A French e with its accent, as one letter and as macOS writes it.
    one, apart = "caf\u00e9", "cafe\u0301"
    (root / "train/images/b.png").rename(root / f"train/images/{one}.png")
    (root / "train/labels/b.png").rename(root / f"train/labels/{apart}.png")
    folder = labelled(root)
    assert folder.names[2] in (one, "c") and len(folder) == 3
    assert folder.label(folder.names.index(one)).shape == (HEIGHT, WIDTH)
    save(root / f"train/images/{apart}.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(StvmError, match="has the same stem as"):
        labelled(root)


@pytest.mark.parametrize("level", ["", "data/train", "data/train/images"])
def test_a_root_at_another_level_is_told(root: Path, level: str) -> None:
    data = root.rename(root.with_name("moved"))
    root.mkdir()
    data.rename(root / "data")
    with pytest.raises(StvmError, match=f"; did you mean {root / 'data'}\\?$"):
        FolderImages(root / level, "train", HEIGHT, WIDTH)


def test_a_folder_of_pictures_of_another_kind_says_so(root: Path) -> None:
    for path in (root / "train/images").iterdir():
        path.rename(path.with_suffix(".tif"))
    with pytest.raises(StvmError, match=r"no image .*; save a\.tif and so on as PNG or JPEG$"):
        FolderImages(root, "train", HEIGHT, WIDTH)


def test_a_label_or_image_with_a_capital_ending_is_told(tmp_path: Path) -> None:
    root = make_gta5(tmp_path / "gta5")
    part = DatasetSplit(GTA5, root, "train")
    label = root / "labels/00003.png"
    label.rename(label.with_suffix(".PNG"))
    with pytest.raises(StvmError, match=r"no label: .*; 00003\.PNG is there: rename it to 00003"):
        part.labels(part.images())
    for path in (root / "images").iterdir():
        path.rename(path.with_suffix(".PNG"))
    # As macOS leaves it beside an image.
    (root / "images/._00001.PNG").write_bytes(b"")
    with pytest.raises(StvmError, match=r"; 00001\.PNG is there: write its ending as \.png$"):
        part.images()
    city = DatasetSplit(CITYSCAPES, make_cityscapes(tmp_path / "cityscapes"), "train")
    for path in city.images():
        path.rename(path.with_suffix(".PNG"))
    with pytest.raises(StvmError, match=r"8bit\.PNG is there: write its ending as _leftImg8bit\.p"):
        city.images()
