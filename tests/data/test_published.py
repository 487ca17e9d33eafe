"""Published data sets in their own layouts: what is read, and what is refused by name."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stvm.data import cityscapes
from stvm.data.cityscapes import PALETTE
from stvm.data.datasets import (
    fingerprint,
    has_source_val,
    open_source,
    open_target_images,
    open_target_labelled,
)
from stvm.data.image_files import read_first_channel
from stvm.data.images import LabelledImages
from stvm.data.published.dataset_layouts import CITYSCAPES, CROSS_CITY, GTA5, SYNTHIA
from stvm.data.published.splits import DatasetSplit
from stvm.errors import StvmError
from stvm.settings import DataSettings
from tests.helpers.tiny_datasets import (
    HEIGHT,
    WIDTH,
    make_gta5,
    png_of_16_bits,
    streets,
)

SIZE = {"height": HEIGHT, "width": WIDTH}
SIXTEEN = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18]
THIRTEEN = [0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18]


def settings(root: Path, dataset: str, **changes: Any) -> DataSettings:
    source, target = dataset.split("_")
    city = {"city": "rome"} if target == "crosscity" else {}
    roots = {"source_root": str(root / source), "target_root": str(root / target)}
    return DataSettings.model_validate({"dataset": dataset, **roots, **city, **SIZE, **changes})


def in_classes(label: np.ndarray, classes: list[int]) -> np.ndarray:
    """A label of 19 classes in a shorter list, pixel by pixel."""
    places = [classes.index(i) if i in classes else 255 for i in range(19)]
    return np.array(places, np.uint8)[label]


def labels_of(images: LabelledImages) -> list[np.ndarray]:
    return [images.label(i) for i in range(len(images))]


def test_gta5_with_its_palette(made: Path, tmp_path: Path) -> None:
    images = open_source(settings(made, "gta5_cityscapes"), "train", tmp_path)
    drawn = streets("gta5", 8, (WIDTH, HEIGHT))
    assert len(images) == 8
    for index, (image, label) in enumerate(drawn[:-1]):
        np.testing.assert_array_equal(images.image(index), image)
        label = label.copy()
        label[:2, :2] = 255
        np.testing.assert_array_equal(images.label(index), label)
    # The last label file has a row more than its image.
    assert images.label(7).shape == (HEIGHT, WIDTH)
    assert np.mean(images.label(7)[4:] == drawn[7][1][4:]) > 0.9
    assert {*np.unique(np.stack(labels_of(images)))} == {*range(19), 255}


def test_gta5s_split_file_is_followed(tmp_path: Path) -> None:
    make_gta5(tmp_path / "gta5", train=8, val=6)
    data = settings(tmp_path, "gta5_cityscapes")
    train, val = (open_source(data, split, tmp_path) for split in ("train", "val"))
    assert (len(train), len(val)) == (8, 6)
    np.testing.assert_array_equal(val.image(0), streets("gta5 val", 6, (WIDTH, HEIGHT))[0][0])
    assert has_source_val(data)
    (tmp_path / "gta5" / "split.mat").write_bytes(b"MATLAB 5.0 and nothing more")
    with pytest.raises(StvmError, match=r"split.mat: cannot be read.*copy it again, or remove"):
        open_source(data, "train", tmp_path)


@pytest.mark.parametrize(
    ("dataset", "has_val"),
    [("gta5_cityscapes", False), ("synthia_cityscapes", False), ("cityscapes_crosscity", True)],
)
def test_only_cityscapes_has_held_out_source_images(
    made: Path, tmp_path: Path, dataset: str, has_val: bool
) -> None:
    data = settings(made, dataset)
    assert has_source_val(data) is has_val
    if has_val:
        assert len(open_source(data, "val", tmp_path)) == 6
    else:
        with pytest.raises(StvmError, match="has no (split|labels for a split) 'val'"):
            open_source(data, "val", tmp_path)
    assert not has_source_val(settings(made, dataset, source_root=""))


def test_synthia_is_read_from_the_first_of_16_bit_channels(made: Path, tmp_path: Path) -> None:
    images = open_source(settings(made, "synthia_cityscapes"), "train", tmp_path)
    for index, (image, label) in enumerate(streets("synthia", 8, (WIDTH, HEIGHT))):
        np.testing.assert_array_equal(images.image(index), image)
        expected = in_classes(label, SIXTEEN)
        expected[:2, :2] = 255
        np.testing.assert_array_equal(images.label(index), expected)


def test_the_reader_that_finds_nothing_would_be_noticed(made: Path) -> None:
    """Pillow reads the upper bytes: class 0 everywhere; the last channel holds nothing too."""
    path = made / "synthia" / "GT" / "LABELS" / "0000000.png"
    with Image.open(path) as image:
        assert not np.any(np.asarray(image))
    assert len(np.unique(read_first_channel(path))) > 5


def test_all_16_bits_are_read(tmp_path: Path) -> None:
    channels = np.arange(2 * 3 * 3, dtype=np.uint16).reshape(2, 3, 3) * 3001
    path = tmp_path / "x.png"
    path.write_bytes(png_of_16_bits(channels))
    np.testing.assert_array_equal(read_first_channel(path), channels[..., 0])


def test_cityscapes_as_target_of_16_and_source_of_13_classes(made: Path, tmp_path: Path) -> None:
    drawn = {name: streets(f"cityscapes {name}", n, (WIDTH, HEIGHT)) for name, n in SPLITS}
    for dataset, classes in (("gta5_cityscapes", [*range(19)]), ("synthia_cityscapes", SIXTEEN)):
        target = open_target_labelled(settings(made, dataset), "val", tmp_path)
        assert_same(target, drawn["val"], classes)
    assert_same(
        open_source(settings(made, "cityscapes_crosscity"), "train", tmp_path),
        drawn["train"],
        THIRTEEN,
    )


SPLITS = (("train", 8), ("val", 6))


def assert_same(images: LabelledImages, drawn: Any, classes: list[int]) -> None:
    # Streets alternate between two towns, in whose order they are read.
    ordered = [*drawn[0::2], *drawn[1::2]]
    assert len(images) == len(ordered)
    for index, (image, label) in enumerate(ordered):
        np.testing.assert_array_equal(images.image(index), image)
        expected = in_classes(label, classes)
        expected[-2:] = 255
        np.testing.assert_array_equal(images.label(index), expected)


def test_cross_citys_jpg_and_png(made: Path, tmp_path: Path) -> None:
    data = settings(made, "cityscapes_crosscity")
    train, test = open_target_images(data, tmp_path), open_target_labelled(data, "test", tmp_path)
    assert (len(train), len(test)) == (8, 6)
    drawn = streets("rome train", 8, (WIDTH, HEIGHT))[0][0]
    assert np.abs(train.image(0).astype(int) - drawn).mean() < 12
    for index, (image, label) in enumerate(streets("rome test", 6, (WIDTH, HEIGHT))):
        np.testing.assert_array_equal(test.image(index), image)
        np.testing.assert_array_equal(test.label(index), in_classes(label, THIRTEEN))


def test_images_are_resized_bicubically_and_labels_to_the_nearest(
    made: Path, tmp_path: Path
) -> None:
    data = settings(made, "gta5_cityscapes", height=40, width=70, source_height=32)
    source = open_source(data, "train", tmp_path)
    assert source.image(0).shape == (32, 70, 3) and source.label(0).shape == (32, 70)
    target = open_target_labelled(data, "val", tmp_path, (48, 96), (96, 200))
    path = sorted((made / "cityscapes/leftImg8bit/val/frankfurt").iterdir())[0]
    with Image.open(path) as stored:
        expected = np.asarray(stored.resize((96, 48), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(target.image(0), expected)
    label = streets("cityscapes val", 6, (WIDTH, HEIGHT))[0][1].copy()
    label[-2:] = 255
    nearest = Image.fromarray(label).resize((200, 96), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(target.label(0), np.asarray(nearest))
    assert open_target_images(data, tmp_path).image(0).shape == (40, 70, 3)


def test_target_training_images_come_without_labels(trees: Path, tmp_path: Path) -> None:
    for folder in (trees / "cityscapes/gtFine/train", trees / "crosscity/Rome/Labels"):
        shutil.rmtree(folder)
    for dataset in ("gta5_cityscapes", "cityscapes_crosscity"):
        images = open_target_images(settings(trees, dataset), tmp_path)
        assert not hasattr(images, "label") and len(images) == 8
        assert images.image(0).shape == (HEIGHT, WIDTH, 3)


def test_the_oracle_reads_cityscapes_and_is_refused_on_cross_city(
    made: Path, tmp_path: Path
) -> None:
    oracle = open_target_labelled(settings(made, "gta5_cityscapes"), "train", tmp_path)
    assert len(oracle) == 8 and oracle.label(0).max() == 255
    with pytest.raises(StvmError, match="Cross-City has no labels.*an oracle is not possible"):
        open_target_labelled(settings(made, "cityscapes_crosscity"), "train", tmp_path)


@pytest.mark.parametrize(
    ("dataset", "split", "mend"),
    [("gta5_cityscapes", "test", "val"), ("cityscapes_crosscity", "val", "test")],
)
def test_a_split_without_public_labels_is_refused(
    made: Path, tmp_path: Path, dataset: str, split: Any, mend: str
) -> None:
    with pytest.raises(StvmError, match=f"no labels for a split '{split}': set eval_split={mend}"):
        open_target_labelled(settings(made, dataset), split, tmp_path)


def test_names_and_colours_of_the_shorter_lists(made: Path, tmp_path: Path) -> None:
    data = settings(made, "cityscapes_crosscity")
    for images in (
        open_source(data, "train", tmp_path),
        open_target_images(data, tmp_path),
        open_target_labelled(data, "test", tmp_path),
    ):
        labelling = images.labelling
        assert labelling.class_names == tuple(cityscapes.CITYSCAPES[i] for i in THIRTEEN)
        assert labelling.colours == [PALETTE[i] for i in THIRTEEN]
        assert (labelling.num_classes, labelling.ignore_index) == (13, 255)


def test_an_embedded_benchmark_has_one_size(tmp_path: Path) -> None:
    data = DataSettings(eval_images=2)
    assert len(open_target_labelled(data, "val", tmp_path, (64, 128), (64, 128))) == 2
    with pytest.raises(StvmError, match="drawn at 128x64 and has no other size: set protocol"):
        open_target_labelled(data, "val", tmp_path, None, (1024, 2048))


def test_a_folder_of_ones_own_has_labels_of_another_size(tmp_path: Path) -> None:
    for kind, array in (("images", np.zeros((8, 12, 3))), ("labels", np.zeros((8, 12)))):
        (tmp_path / "val" / kind).mkdir(parents=True)
        Image.fromarray(array.astype(np.uint8)).save(tmp_path / "val" / kind / "a.png")
    roots = {"source_root": str(tmp_path), "target_root": str(tmp_path), "classes": "road"}
    data = DataSettings(dataset="folder", height=16, width=16, **roots)
    images = open_target_labelled(data, "val", tmp_path, (20, 24), (40, 60))
    assert images.image(0).shape == (20, 24, 3) and images.label(0).shape == (40, 60)
    assert images.labelling.class_names == ("road",)
    assert open_target_labelled(data, "val", tmp_path).label(0).shape == (16, 16)


def test_the_fingerprint_is_that_of_the_files_wherever_they_lie(trees: Path, made: Path) -> None:
    def prints(root: Path, train: bool = True) -> str | None:
        return fingerprint(settings(root, "gta5_cityscapes"), "val", train)

    assert prints(trees) == prints(made) != prints(made, train=False)
    # Labels of target training images are no part of what an adaptation reads.
    shutil.rmtree(trees / "cityscapes/gtFine/train")
    assert prints(trees) == prints(made)
    label = trees / "gta5/labels/00001.png"
    label.write_bytes(label.read_bytes() + b"x")
    assert prints(trees) != prints(made)


def test_the_fingerprint_does_without_a_source(made: Path) -> None:
    without = settings(made, "gta5_cityscapes", source_root="")
    assert fingerprint(without, "val", True)


Damage = Callable[[Path], object]


def _save(path: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _rewrite(path: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    with Image.open(path) as image:
        changed = change(image)
    changed.save(path)


BROKEN: list[tuple[str, str, Damage, str]] = [
    ("gta5_cityscapes", "no root", lambda t: shutil.rmtree(t / "gta5"), r"gta5: no such folder"),
    (
        "gta5_cityscapes",
        "no labels folder",
        lambda t: shutil.rmtree(t / "gta5/labels"),
        r"8 of 8 images have no label: images/00001.png, .* and 3 more; add .*labels/00001.png",
    ),
    (
        "gta5_cityscapes",
        "a label missing",
        lambda t: (t / "gta5/labels/00002.png").unlink(),
        r"1 of 8 images have no label: images/00002.png; add .*or remove",
    ),
    (
        "gta5_cityscapes",
        "no images",
        lambda t: [p.unlink() for p in (t / "gta5/images").iterdir()],
        r"images: no image of the split 'train'.*expected as images/00001.png",
    ),
    (
        "gta5_cityscapes",
        "an unknown id",
        lambda t: _save(t / "gta5/labels/00001.png", np.full((HEIGHT, WIDTH), 77, np.uint8)),
        r"labels/00001.png: holds 77, which are not ids of GTA5 \(0 to 34",
    ),
    (
        "gta5_cityscapes",
        "a label in colours",
        lambda t: _rewrite(t / "gta5/labels/00001.png", lambda i: i.convert("RGB")),
        r"labels/00001.png: label mode is RGB, not 8-bit single-channel",
    ),
    (
        "gta5_cityscapes",
        "another image's label",
        lambda t: _save(t / "gta5/labels/00001.png", np.full((HEIGHT, HEIGHT), 7, np.uint8)),
        r"labels/00001.png: label is 64x64 .* but its image .*00001.png is 128x64",
    ),
    (
        "gta5_cityscapes",
        "a label cut off",
        lambda t: _cut(t / "gta5/labels/00001.png"),
        r"labels/00001.png: cannot be read as PNG.*copy or save the file again",
    ),
    (
        "gta5_cityscapes",
        "an image cut off",
        lambda t: _cut(t / "gta5/images/00001.png"),
        r"images/00001.png: cannot be read as PNG",
    ),
    (
        "synthia_cityscapes",
        "a label of 8 bits",
        lambda t: _rewrite(t / "synthia/GT/LABELS/0000000.png", lambda i: i.convert("RGB")),
        r"0000000.png: label mode is RGB, not three channels of 16 bits; .*as it was published",
    ),
    (
        "synthia_cityscapes",
        "a label cut off",
        lambda t: _cut(t / "synthia/GT/LABELS/0000000.png"),
        r"0000000.png: cannot be read as PNG",
    ),
    (
        "synthia_cityscapes",
        "an unknown id",
        lambda t: (t / "synthia/GT/LABELS/0000000.png").write_bytes(
            png_of_16_bits(np.full((HEIGHT, WIDTH, 3), 300, np.uint16))
        ),
        r"0000000.png: holds 300, which are not ids of SYNTHIA \(0 to 22",
    ),
    (
        "cityscapes_crosscity",
        "a folder missing",
        lambda t: (t / "cityscapes/leftImg8bit").rename(t / "cityscapes/images"),
        r"leftImg8bit: no such folder \(beside it: gtFine, images\); Cityscapes is expected as",
    ),
    (
        "gta5_cityscapes",
        "a file for a root",
        lambda t: (shutil.rmtree(t / "gta5"), (t / "gta5").write_text("x")),
        r"gta5: it is a file; GTA5 is expected as",
    ),
]


@pytest.mark.parametrize(
    ("dataset", "damage", "message"),
    [(d, f, m) for d, _, f, m in BROKEN],
    ids=[f"{d}: {what}" for d, what, _, _ in BROKEN],
)
def test_broken_sources_are_refused_by_name(
    trees: Path, tmp_path: Path, dataset: str, damage: Damage, message: str
) -> None:
    damage(trees)
    with pytest.raises(StvmError, match=message) as caught:
        images = open_source(settings(trees, dataset), "train", tmp_path)
        images.image(0)
        images.label(0)
    assert "\n" not in str(caught.value)


def test_another_city_is_refused_with_those_that_are_there(made: Path, tmp_path: Path) -> None:
    data = settings(made, "cityscapes_crosscity", city="rio")
    with pytest.raises(StvmError, match=r"Rio: no such folder \(beside it: Rome\); NTHU .*Labels"):
        open_target_images(data, tmp_path)


def test_a_root_that_is_not_given(made: Path, tmp_path: Path) -> None:
    data = settings(made, "gta5_cityscapes", target_root="")
    with pytest.raises(StvmError, match="target_root is not set: give target_root=DIR, the folder"):
        open_target_images(data, tmp_path)


def test_two_images_of_one_stem(trees: Path, tmp_path: Path) -> None:
    train = trees / "crosscity/Rome/Images/Train"
    shutil.copy(trees / "gta5/images/00001.png", train / "pano_00000_0_180.png")
    with pytest.raises(StvmError, match="pano_00000_0_180.png: has the same stem as pano_00000"):
        open_target_images(settings(trees, "cityscapes_crosscity"), tmp_path)


def test_hidden_and_other_files_are_passed_over(trees: Path, tmp_path: Path) -> None:
    for name in ("._00001.png", "notes.txt", "00001.jpg"):
        (trees / "gta5/images" / name).write_bytes(b"x")
    (trees / "cityscapes/leftImg8bit/train/notes.txt").write_bytes(b"x")
    data = settings(trees, "gta5_cityscapes")
    assert len(open_source(data, "train", tmp_path)) == 8
    assert len(open_target_images(data, tmp_path)) == 8


def test_the_published_numbers() -> None:
    root = Path("nowhere")
    numbers = {
        (layout.name, split): DatasetSplit(layout, root, split).official
        for layout in (GTA5, SYNTHIA, CITYSCAPES, CROSS_CITY)
        for split in layout.counts
    }
    assert numbers == {
        **{("gta5", "train"): 24966, ("gta5", "val"): 0, ("gta5", "test"): 0},
        **{("synthia", "train"): 9400},
        **{("cityscapes", "train"): 2975, ("cityscapes", "val"): 500},
        **{("crosscity", "train"): 3200, ("crosscity", "test"): 100},
    }
    assert sum(GTA5.counts.values()) == 24966
