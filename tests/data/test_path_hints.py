"""Names that are nearly right, and folders at another level: what is there is said."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from studies.commands.images_to_predict import list_images
from stvm.data.classes import ClassList
from stvm.data.folder import FolderImages, LabelledFolder, image_paths
from stvm.data.listed_images import pictures_of_other_kinds
from stvm.data.photo_folder import photo_paths
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


def test_a_folder_in_other_capitals_is_told(root: Path) -> None:
    for there, wanted in (("train/IMAGES", "train/images"), ("Train", "train")):
        (root / wanted).rename(root / there)
        told = f"; {root / there} is there: rename it to {Path(wanted).name}; the layout must be"
        with pytest.raises(StvmError, match=re.escape(told)):
            FolderImages(root, "train", HEIGHT, WIDTH)
        (root / there).rename(root / wanted)
    (root / "leftimg8bit").mkdir()
    told = f"; {root}/leftimg8bit is there: rename it to leftImg8bit; Cityscapes is expected"
    with pytest.raises(StvmError, match=re.escape(told)):
        DatasetSplit(CITYSCAPES, root, "train").images()
    root.rename(root.with_name("MADE"))
    for told in why_not(root):
        assert "rename" not in told, "the user's own name for a root"


def why_not(root: Path) -> list[str]:
    """The errors of a folder that is neither GTA5 nor in the layout of users."""
    told = []
    for read in (
        DatasetSplit(GTA5, root, "train").images,
        lambda: FolderImages(root, "train", HEIGHT, WIDTH),
    ):
        with pytest.raises(StvmError) as refused:
            read()
        told.append(str(refused.value))
    return told


def test_archives_that_are_still_packed_are_told(tmp_path: Path) -> None:
    """A root that is one archive of several, or a folder that holds nothing else."""
    names = ["01_images.zip", "01_labels.ZIP", "02_images.zip", "02_labels.zip"]
    for name in (*names, "read_mapping.m"):
        (tmp_path / name).write_bytes(b"x")
    for root, told in (
        (
            tmp_path / names[0],
            "it is a file: unpack it, and those beside it that belong to the same data set "
            f"({names[1]}, {names[2]} and 1 more), into one folder and name that folder; ",
        ),
        (
            tmp_path,
            f"; nothing is unpacked in {tmp_path}: unpack {names[0]}, {names[1]} and 2 more there",
        ),
    ):
        assert all(told in error for error in why_not(root))
    for name in names[2:]:
        (tmp_path / name).unlink()
    told = f"; nothing is unpacked in {tmp_path}: unpack {names[0]}, {names[1]} there"
    assert all(error.endswith(told) for error in why_not(tmp_path))
    assert all(f"data set ({names[1]}), into" in error for error in why_not(tmp_path / names[0]))
    for name in ("images.zip", "train.zip"):
        (tmp_path / name).write_bytes(b"x")
    for name, error in zip(("images.zip", "train.zip"), why_not(tmp_path), strict=True):
        assert f"; {name} is there: unpack it" in error.replace(f"{tmp_path}/", "")
        assert "nothing is unpacked" not in error
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "train.zip").unlink()
    assert why_not(tmp_path)[1].endswith("NAME.{png,jpg,jpeg}")


def test_beside_a_missing_root_only_a_similar_name_is_proposed(root: Path) -> None:
    """Where the source is missing, the target is no proposal."""
    target, source = root.rename(root.with_name("camvid")), root.with_name("carla")
    with pytest.raises(StvmError, match=r"NAME\.\{png,jpg,jpeg\}$"):
        FolderImages(source, "train", HEIGHT, WIDTH)
    other = target.rename(root.with_name("Carla_0.9"))
    with pytest.raises(StvmError, match=f"; did you mean {other}\\?$"):
        FolderImages(source, "train", HEIGHT, WIDTH)


def test_a_folder_of_pictures_of_another_kind_says_so(root: Path) -> None:
    for path in (root / "train/images").iterdir():
        path.rename(path.with_suffix(".tif"))
    with pytest.raises(StvmError, match=r"no image .*; save a\.tif and so on as PNG or JPEG$"):
        FolderImages(root, "train", HEIGHT, WIDTH)


def test_an_image_with_a_capital_ending_is_read_and_such_a_label_is_told(tmp_path: Path) -> None:
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
    assert [path.name for path in part.images()] == [f"{n:05d}.PNG" for n in range(1, 9)]
    assert part.label_of(part.images()[0]) == root / "labels/00001.png"
    city = DatasetSplit(CITYSCAPES, make_cityscapes(tmp_path / "cityscapes"), "train")
    before = city.labels(city.images())
    for path in city.images():
        path.rename(path.with_suffix(".PNG"))
    assert city.labels(city.images()) == before and len(before) == 8


def test_all_who_list_images_agree_on_their_names(tmp_path: Path) -> None:
    """A folder of a data set, photos to adapt to, images to predict."""
    folder = tmp_path / "train/images"
    folder.mkdir(parents=True)
    images = ["a.png", "b.PNG", "c.Jpg", "d.JPEG"]
    for name in [*images, "._b.PNG", "e.TIF", "f.txt", "png"]:
        (folder / name).write_bytes(b"x")
    for name in ("folder.png", "folder.tif"):
        (folder / name).mkdir()
    assert [path.name for path in image_paths(tmp_path, "train")] == images
    assert [path.name for path in photo_paths(folder)] == images
    assert [path.name for path in list_images([folder]).values()] == images
    assert [path.name for path in pictures_of_other_kinds(folder)] == ["e.TIF"]
    (tmp_path / "photos/deep.png").mkdir(parents=True)
    for name in ("photos/G.PNG", "hidden/._g.png", "labels/g.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(StvmError, match=rf"; did you mean {tmp_path}/photos\?$"):
        photo_paths(tmp_path)
    assert [path.name for path in list_images([tmp_path / "photos"]).values()] == ["G.PNG"]
    (tmp_path / "photos/gone.png").symlink_to("elsewhere.png")
    assert len(list_images([tmp_path / "photos"])) == 2, "named where it is read, not passed over"


def test_archives_that_were_unpacked_apart_are_told(tmp_path: Path) -> None:
    """GTA5 comes in ten parts of images and ten of labels, Cityscapes in one of each."""
    gta5 = make_gta5(tmp_path / "gta5")
    for number, kind in ((1, "images"), (2, "images"), (3, "images"), (1, "labels")):
        shutil.copytree(gta5 / kind, gta5 / f"{number:02d}_{kind}" / kind)
    part = DatasetSplit(GTA5, gta5, "train")
    (gta5 / "notes").mkdir()
    (gta5 / "notes/images").write_text("a file")
    labels = rf"move what is in {gta5}/01_labels/labels to {gta5}/labels"
    (gta5 / "labels/00001.png").rename(gta5 / "labels/00001.PNG")
    with pytest.raises(StvmError, match="00001.PNG is there: rename it to 00001.png$"):
        part.labels(part.images())
    (gta5 / "labels/00001.PNG").unlink()
    with pytest.raises(StvmError, match=rf"have no label: .*; {labels}$"):
        part.labels(part.images())
    shutil.rmtree(gta5 / "labels")
    with pytest.raises(StvmError, match=rf"have no label: .*; {labels}$"):
        part.labels(part.images())
    shutil.rmtree(gta5 / "images")
    moved = rf"{gta5}/01_images/images, {gta5}/02_images/images and 1 more to {gta5}/images"
    with pytest.raises(
        StvmError, match=rf"in a folder of its own: move what is in {moved} and {labels}$"
    ):
        part.images()
    shutil.rmtree(gta5 / "01_labels")
    shutil.rmtree(gta5 / "03_images")
    with pytest.raises(StvmError, match=rf"what is in {moved.replace(' and 1 more', '')}$"):
        part.images()
    shutil.rmtree(gta5 / "02_images")
    with pytest.raises(StvmError, match=rf"; did you mean {gta5}/01_images\?$"):
        part.images()
    city = make_cityscapes(tmp_path / "cityscapes")
    for name in ("leftImg8bit", "gtFine"):
        (city / f"{name}_trainvaltest").mkdir()
        (city / name).rename(city / f"{name}_trainvaltest" / name)
    with pytest.raises(StvmError, match=r"/gtFine_trainvaltest/gtFine/train to "):
        DatasetSplit(CITYSCAPES, city, "train").images()
