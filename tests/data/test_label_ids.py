"""Label maps against Cityscapes' own scripts and against tables written down a second time."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as cityscapes_labels

from stvm.data import cityscapes
from stvm.data.cityscapes import PALETTE
from stvm.data.classes import parse_classes
from stvm.data.published import published_images
from stvm.data.published.label_ids import (
    ALL_19,
    CITYSCAPES_IDS,
    CROSS_CITY_IDS,
    GTA5_IDS,
    SHARED_13,
    SHARED_16,
    SYNTHIA_IDS,
    LabelIds,
)
from stvm.errors import StvmError
from stvm.settings import DataSettings
from tests.helpers.tiny_datasets import CITYSCAPES_ID, SYNTHIA_ID

CITY = {"cityscapes_crosscity": "rome"}


@pytest.mark.parametrize("ids", [CITYSCAPES_IDS, GTA5_IDS, CROSS_CITY_IDS])
def test_every_cityscapes_id_has_the_train_id_of_cityscapesscripts(ids: LabelIds) -> None:
    table = ids.table(ALL_19)
    assert sorted(label.id for label in cityscapes_labels) == list(range(-1, 34))
    for label in cityscapes_labels:
        # -1, a licence plate, is the train id -1 there; as 8 bits it is 255, ignored here.
        expected = label.trainId if label.trainId >= 0 else 255
        assert table[np.array(label.id).astype(np.uint8)] == expected, label.name


def test_names_and_colours_are_those_of_cityscapesscripts() -> None:
    known = {label.trainId: label for label in cityscapes_labels if 0 <= label.trainId < 255}
    assert [known[i].name for i in range(19)] == list(cityscapes.CITYSCAPES)
    assert [known[i].color for i in range(19)] == list(PALETTE)


def test_gta5s_licence_plate_is_known_and_ignored() -> None:
    assert GTA5_IDS.table(ALL_19)[34] == 255 and GTA5_IDS.last == 34


def test_synthia_against_the_list_in_its_own_readme() -> None:
    # Class ids as SYNTHIA-RAND-CITYSCAPES numbers them, 0 to 22.
    theirs = """void sky building road sidewalk fence vegetation pole car sign pedestrian bicycle
        motorcycle parking-slot road-work light terrain rider truck bus train wall lane-marking"""
    ours = {"sign": "traffic sign", "light": "traffic light", "pedestrian": "person"}
    table = SYNTHIA_IDS.table(ALL_19)
    for number, name in enumerate(theirs.split()):
        name = ours.get(name, name)
        expected = cityscapes.CITYSCAPES.index(name) if name in cityscapes.CITYSCAPES else 255
        assert table[number] == expected, name
    assert SYNTHIA_IDS.last == number == 22


def test_the_miniature_trees_were_written_by_the_same_tables() -> None:
    for ids, written in ((CITYSCAPES_IDS, CITYSCAPES_ID), (SYNTHIA_IDS, SYNTHIA_ID)):
        assert ids.train_ids == {
            i: cityscapes.CITYSCAPES.index(name) for name, i in written.items()
        }


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        ("gta5_cityscapes", list(cityscapes.CITYSCAPES)),
        (
            "synthia_cityscapes",
            [name for name in cityscapes.CITYSCAPES if name not in ("terrain", "truck", "train")],
        ),
        (
            "cityscapes_crosscity",
            [
                "road",
                "sidewalk",
                "building",
                "traffic light",
                "traffic sign",
                "vegetation",
                "sky",
                "person",
                "rider",
                "car",
                "bus",
                "motorcycle",
                "bicycle",
            ],
        ),
    ],
)
def test_classes_of_each_scenario(dataset: str, names: list[str]) -> None:
    data = DataSettings.model_validate({"dataset": dataset, "city": CITY.get(dataset, "")})
    assert list(published_images.names_of(data)) == names


def test_cross_city_in_its_thirteen_classes() -> None:
    # As the code of MaxSquareLoss and URMA numbers them.
    theirs = {7: 0, 8: 1, 11: 2, 19: 3, 20: 4, 21: 5, 23: 6}
    theirs |= {24: 7, 25: 8, 26: 9, 28: 10, 32: 11, 33: 12}
    table = CROSS_CITY_IDS.table(SHARED_13)
    assert {i: int(table[i]) for i in range(256) if table[i] != 255} == theirs


def test_synthia_in_its_sixteen_classes() -> None:
    table = SYNTHIA_IDS.table(SHARED_16)
    order = [3, 4, 2, 21, 5, 7, 15, 9, 6, 1, 10, 17, 8, 19, 12, 11]
    assert {i: int(table[i]) for i in range(256) if table[i] != 255} == {
        label_id: number for number, label_id in enumerate(order)
    }


@pytest.mark.parametrize(
    ("ids", "last"),
    [(CITYSCAPES_IDS, 33), (CROSS_CITY_IDS, 33), (GTA5_IDS, 34), (SYNTHIA_IDS, 22)],
)
def test_the_last_id_of_each_data_set_is_taken_and_the_next_refused(
    ids: LabelIds, last: int
) -> None:
    known = np.array([[0, last, 255]], np.uint16)
    assert ids.checked(Path("a.png"), known).tolist() == known.tolist()
    for strange in (last + 1, 254):
        with pytest.raises(StvmError, match=f"a.png: holds {strange}, .*0 to {last}, 255 ignored"):
            ids.checked(Path("a.png"), np.array([[0, strange]], np.uint16))


@pytest.mark.parametrize(
    ("strange", "told"),
    [
        ([40], "40, which"),
        ([40, 41, 42, 43, 44], "40, 41, 42, 43, 44, which"),
        ([40, 41, 42, 43, 44, 45], "40, 41, 42, 43, 44 and 1 more, which"),
        (list(range(40, 60)), "40, 41, 42, 43, 44 and 15 more, which"),
    ],
)
def test_five_strange_ids_are_named_and_the_others_counted(strange: list[int], told: str) -> None:
    with pytest.raises(StvmError, match=f"a.png: holds {told} are not ids of Cityscapes "):
        CITYSCAPES_IDS.checked(Path("a.png"), np.array([strange], np.uint8))


def test_a_table_has_a_place_for_each_byte_and_ids_cannot_be_changed() -> None:
    assert SYNTHIA_IDS.table(ALL_19).shape == (256,)
    with pytest.raises(FrozenInstanceError):
        SYNTHIA_IDS.last = 30  # type: ignore[misc]


def test_an_own_class_may_have_the_id_254_and_not_255() -> None:
    assert parse_classes("0:road,254:sky").ids == (0, 254)
    with pytest.raises(StvmError, match="id 255 of 'sky' is not in 0..254"):
        parse_classes("0:road,255:sky")
