"""Labels that hold another numbering than they should: told over a split, or by a file's ids."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as cityscapes_labels
from PIL import Image

from studies.__main__ import main
from stvm.data.classes import parse_classes
from stvm.data.folder import LabelledFolder
from stvm.data.label_encoding import Counts, look_alike, own_slip, published_slip
from stvm.data.published.label_ids import CITYSCAPES_IDS, GTA5_IDS, SYNTHIA_IDS
from stvm.errors import StvmError
from tests.helpers.tiny_datasets import make_cityscapes, make_gta5, make_synthia, png_of_16_bits

# Train id of each label id, by Cityscapes' own scripts.
TRAIN_ID = {label.id: label.trainId for label in cityscapes_labels if label.id >= 0}
SIZES = [
    *("height=48", "width=96", "source_height=40", "source_width=72"),
    *("crop_height=32", "crop_width=32"),
]


def as_train_ids(labels: Iterable[Path]) -> None:
    """Write label files again as the field's `labelTrainIds` are."""
    table = np.array([TRAIN_ID.get(i, 255) for i in range(256)], np.uint8)
    for path in labels:
        with Image.open(path) as label:
            ids = np.array(label)
        Image.fromarray(table[ids]).save(path)


def counts(pixels: dict[int, int]) -> Counts:
    found = np.zeros(256, np.int64)
    for number, count in pixels.items():
        found[number] = count
    return found


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    make_gta5(tmp_path / "gta5")
    make_cityscapes(tmp_path / "cityscapes")
    return tmp_path


def prepare(trees: Path, *options: str) -> int:
    roots = [f"source_root={trees / 'gta5'}", f"target_root={trees / 'cityscapes'}"]
    given = ["dataset=gta5_cityscapes", "eval_split=val", *SIZES, *roots]
    cache = str(trees / "cache")
    return main(["prepare", *given, "--cache", cache, "--workers", "1", *options])


@pytest.mark.slow
def test_train_ids_in_files_of_label_ids_are_told_before_anything_is_decoded(
    trees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(trees, "--check") == 0
    assert "warning" not in capsys.readouterr().out
    as_train_ids((trees / "gta5/labels").iterdir())
    as_train_ids((trees / "cityscapes/gtFine/val").rglob("*labelIds.png"))
    for options in (["--check"], []):
        assert prepare(trees, *options) == 2
        source, target = capsys.readouterr().err.splitlines()
        assert (
            "gta5/labels (source train), 8 labels looked at: no label holds an id above" in source
        )
        assert "look like train ids (0 is road), not like ids of GTA5 (7 is road)" in source
        assert "gtFine/val (target val), 6 labels looked at: no label holds" in target
        assert target.endswith("; if they are right, add --trust-labels")
        assert not (trees / "cache").exists()
    assert prepare(trees, "--trust-labels") == 0
    assert capsys.readouterr().out.count("warning: ") == 2


def test_synthias_classes_in_another_channel_or_as_train_ids_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_synthia(tmp_path / "synthia")
    make_cityscapes(tmp_path / "cityscapes")
    roots = [f"source_root={tmp_path / 'synthia'}", f"target_root={tmp_path / 'cityscapes'}"]
    given = ["dataset=synthia_cityscapes", "eval_split=val", *SIZES, *roots]
    command = ["prepare", *given, "--cache", str(tmp_path / "cache"), "--check"]
    assert main(command) == 0
    ids = np.tile(np.arange(22, dtype=np.uint16), (64, 6))[:, :128]
    nothing = np.zeros_like(ids)
    for path in (tmp_path / "synthia/GT/LABELS").iterdir():
        path.write_bytes(png_of_16_bits(np.stack([nothing, nothing, ids], axis=2)))
    assert main(command) == 2
    assert (
        "no label holds the id of a class (found: 0): all would be ign" in capsys.readouterr().err
    )
    train_ids = np.where(ids == 21, 255, ids % 19)
    for path in (tmp_path / "synthia/GT/LABELS").iterdir():
        path.write_bytes(png_of_16_bits(np.stack([train_ids, nothing, nothing], axis=2)))
    assert main(command) == 2
    assert "look like train ids (0 is road), not like ids of SYNTHIA (3 is road)" in (
        capsys.readouterr().err
    )


def test_a_tiny_tree_may_hold_few_ids() -> None:
    # Road, sidewalk and a wall: odd enough to be said, not to be refused.
    slip = published_slip(counts({0: 10, 3: 5, 7: 900, 8: 100, 12: 50}), CITYSCAPES_IDS)
    assert slip and not slip.certain
    assert published_slip(counts({0: 10, 7: 900, 21: 100}), CITYSCAPES_IDS) is None
    assert published_slip(counts({7: 900, 34: 1}), GTA5_IDS).certain is False  # type: ignore[union-attr]
    everything = counts(dict.fromkeys(range(23), 10))
    assert published_slip(everything, SYNTHIA_IDS) is None


@pytest.mark.parametrize(("ids", "certain"), [(7, False), (8, True)])
def test_eight_train_ids_are_enough_to_be_sure_of_the_slip(ids: int, certain: bool) -> None:
    slip = published_slip(counts(dict.fromkeys(range(1, ids + 1), 9) | {255: 5}), CITYSCAPES_IDS)
    assert slip and slip.certain == certain


def test_masks_of_0_and_255_and_one_class_are_told() -> None:
    two, three = parse_classes("ground,crack"), parse_classes("0:road,1:walk,2:sky")
    mask = own_slip(counts({0: 100, 255: 20}), two)
    assert mask and mask.certain and "save 255 as 1" in mask.text
    border = own_slip(counts({0: 100, 255: 20}), three)
    assert border and not border.certain and "one class, 'road'" in border.text
    one = own_slip(counts({1: 100}), two)
    assert one and not one.certain and "one class, 'crack'" in one.text
    ignored = own_slip(counts({255: 100}), three)
    assert ignored and ignored.certain and "all pixels are labelled 255" in ignored.text
    assert own_slip(counts({0: 100, 1: 1}), two) is None
    assert own_slip(counts({0: 100, 255: 20}), parse_classes("ground")) is None


NAMES = "road,sidewalk,building,wall,fence,pole,light,sign,vegetation,terrain,sky,person"


@pytest.mark.parametrize(
    ("classes", "ids", "told"),
    [
        (NAMES, [7, 8, 11, 23], "look like Cityscapes' label ids: write classes=7:road,8:sidewalk"),
        ("7:road,11:building,23:sky", [0, 2, 10, 255], "look like train ids: write classes=road"),
        ("road,walk,sky", [1, 2, 3], "as if they began at 1: write classes=1:road,..."),
        ("road,walk,sky", list(range(100)), "of a picture, or of a label that was resized smooth"),
    ],
)
def test_ids_outside_the_class_list_say_what_they_look_like(
    tmp_path: Path, classes: str, ids: list[int], told: str
) -> None:
    label = np.resize(np.array(ids, np.uint8), (10, 12))
    for part, array in (("images", np.dstack([label] * 3)), ("labels", label)):
        (tmp_path / "train" / part).mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / "train" / part / "a.png")
    with pytest.raises(StvmError, match="are not in the class list") as caught:
        LabelledFolder(tmp_path, "train", 10, 12, parse_classes(classes)).label(0)
    assert told in str(caught.value) and len(str(caught.value)) < 400


def test_ids_that_are_ignored_or_share_a_class_make_no_class_of_their_own() -> None:
    classes = parse_classes("4+5:road,1:sky,3:-")
    for pixels in ({4: 60, 3: 40}, {4: 60, 5: 40}):
        slip = own_slip(counts(pixels), classes)
        assert slip and "'road'" in slip.text and not slip.certain
    assert own_slip(counts({4: 60, 1: 40}), classes) is None
    ignored = own_slip(counts({3: 100}), classes)
    assert ignored and ignored.certain


def test_a_list_with_merged_ids_is_not_taken_for_one_that_begins_at_zero() -> None:
    assert "began at 1" in look_alike({1, 2}, parse_classes("road,sky"))
    assert look_alike({1, 2}, parse_classes("0+7:road,1:sky")) == ""
