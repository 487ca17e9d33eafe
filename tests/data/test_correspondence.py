"""Class maps: by words, file and name, against tables written by hand; every slip in one line."""

from pathlib import Path

import pytest

from stvm.data.cityscapes import CITYSCAPES, CROSS_CITY, SYNTHIA
from stvm.data.classes import parse_classes
from stvm.data.correspondence import (
    Correspondence,
    find_correspondence,
    map_classes,
    match_names,
)
from stvm.errors import StvmError
from stvm.settings import DataSettings, Settings
from tests.helpers.tiny_settings import tiny

SOURCE, TARGET = ("road", "car", "truck", "bus", "rider"), ("car", "road")

IDD_LEVEL_1 = {
    **{"road": 0, "sidewalk": 1, "terrain": 1, "person": 2, "rider": 2, "motorcycle": 3},
    **{"bicycle": 3, "car": 3, "truck": 3, "bus": 3, "train": 3, "wall": 4, "fence": 4},
    **{"traffic sign": 4, "traffic light": 4, "pole": 4, "building": 5, "vegetation": 5, "sky": 6},
}
"""level1Id of the label that has the csTrainId of each class, in AutoNUE's table of labels."""
CAMVID = {
    **{"road": 0, "sidewalk": 1, "building": 2, "fence": 3, "pole": 4, "traffic light": 5},
    **{"traffic sign": 5, "vegetation": 6, "terrain": 6, "sky": 7, "person": 8, "car": 9},
    **{"truck": 9, "bus": 9, "train": 9},
}
CAMVID_NAMES = "road,sidewalk,building,fence,pole,traffic sign,vegetation,sky,person,car"
IDD_NAMES = "drivable,non-drivable,living things,vehicles,road side objects,far objects,sky"


def folder(**changes: str) -> DataSettings:
    roots = {"dataset": "folder", "source_root": "a", "target_root": "b"}
    return Settings().replace(**(roots | {"classes": ",".join(TARGET)} | changes)).data


@pytest.mark.parametrize(
    "text",
    [
        "car:car+truck+bus,road:road",
        " road , car : bus + truck + car ",
        "0:1+2+3,1:0",
        "car:1+truck+bus,road,-:rider",
    ],
)
def test_a_map_by_names_or_numbers_is_the_same(text: str) -> None:
    found = map_classes(folder(class_map=text).class_map, SOURCE, TARGET)
    assert found.targets == (1, 0, 0, 0, None)
    assert (found.unmatched, found.members(0), found.is_same) == ((4,), (1, 2, 3), False)
    assert found.facts("error") == {
        "source": list(SOURCE),
        "target": ["road", "car", "car", "car", None],
        **{"by": "map", "unmatched": "error"},
    }


@pytest.mark.parametrize(
    ("name", "target", "table"),
    [
        ("camvid10", CAMVID_NAMES.split(","), CAMVID),
        ("idd7", IDD_NAMES.split(","), IDD_LEVEL_1),
        ("synthia16", SYNTHIA, {n: i for i, n in enumerate(SYNTHIA)}),
        ("crosscity13", CROSS_CITY, {n: i for i, n in enumerate(CROSS_CITY)}),
    ],
)
def test_named_maps_are_the_tables_of_the_data_sets(
    name: str, target: list[str], table: dict[str, int]
) -> None:
    found = map_classes(name, CITYSCAPES, target)
    assert found.targets == tuple(table.get(source) for source in CITYSCAPES)


def test_a_file_is_its_content(tmp_path: Path) -> None:
    rows = "target,source\ncar,car\nroad,road\ncar, truck\ncar,bus\n,rider\n"
    paths = [tmp_path / "a.csv", tmp_path / "b.CSV"]
    paths[0].write_text(rows, "utf-8-sig")
    paths[1].write_text(rows.replace(",", ";").replace("target;source", "Target; Source"))
    made = [folder(class_map=str(path)) for path in paths]
    assert made[0].class_map == "car:car+truck+bus,road,-:rider" == made[1].class_map
    named = [tiny(class_map=str(path)).hash() for path in paths]
    assert named[0] == named[1] == tiny(class_map="car:car+truck+bus,road,-:rider").hash()
    paths[0].write_text(rows.replace("bus", "rider").replace(",rider\n,rider", ",rider"))
    assert tiny(class_map=str(paths[0])).hash() != named[0] != tiny().hash()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car:car+truk,road", "entry 'car:car\\+truk': unknown source class 'truk': .* 'truck'?"),
        ("cars:car,road", "entry 'cars:car': unknown target class 'cars': did you mean 'car'?"),
        ("car:car+7,road", "entry 'car:car\\+7': there is no source class 7; .* 0 to 4"),
        ("car:class 7,road", "entry 'car:class 7': there is no source class 7"),
        ("5:car,road", "entry '5:car': there is no target class 5; they are numbered 0 to 1"),
        ("car:car+truck,road:road+car", "source class 'car' is given twice"),
        ("car:car+1,road", "source class 'car' is given twice"),
        ("car:car,road,car:bus", "target class 'car' is given twice"),
        ("car:car,road,0:bus", "target class 'car' is given twice"),
        ("car:car+bus", "target class 'road' has no source class: add road:SOURCE, or road:-"),
        ("car:-,road:-", "no target class has a source class"),
        ("car:-,road:-,-:rider", "no target class has a source class"),
        ("car:car+,road", "an entry is empty"),
        (",", "an entry is empty"),
        (":car,road", "an entry is empty"),
        ("car:car+-,road", "entry 'car:car\\+-': '-' stands for no class, alone on its side"),
        ("car:car:bus,road", "has two colons"),
        ("nowhere.csv", "no such file nowhere.csv: give a CSV file with the columns"),
        ("camvid11.csv", "no such file camvid11.csv: give a CSV file with the columns"),
        ("IDD8", "no such map: did you mean 'idd7'. there are camvid10, idd7, synthia16"),
    ],
)
def test_a_slip_is_one_line(text: str, message: str) -> None:
    with pytest.raises(StvmError, match=message) as caught:
        map_classes(folder(class_map=text).class_map, SOURCE, TARGET)
    assert "class_map" in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_or_a_file_of_another_ending_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "map.txt").write_text("target,source\n")
    for path, told in ((tmp_path, "is a folder"), (tmp_path / "map.txt", "does not end in .csv")):
        with pytest.raises(StvmError, match=f"class_map.*{path} {told}: give a CSV file"):
            folder(class_map=str(path))


def test_a_slash_in_a_class_name_makes_no_path_of_a_long_map() -> None:
    text = ",".join(f"target {n}:source {n}" for n in range(20)) + ",car/van:car"
    assert folder(class_map=text).class_map == text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("car,road\n", "must name the columns target and source"),
        ("target,source\n", "has no row"),
        ('target,source\ncar,"a+b"\n', r"line 2: the name 'a\+b' has a '\+'"),
        ("target,source\ncar,car\ncar,car\n", "source class 'car' is given twice"),
    ],
)
def test_a_file_with_a_slip_is_one_line(rows: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(rows)
    with pytest.raises(StvmError, match=message) as caught:
        folder(class_map=str(tmp_path / "a.csv"))
    assert "\n" not in str(caught.value)


def test_equal_names_are_matched_without_a_map() -> None:
    data = DataSettings(dataset="synthia_cityscapes", source_root="a", target_root="b")
    found = find_correspondence(data, "checkpoint x.pth", 19)
    assert found == Correspondence(
        *(CITYSCAPES, SYNTHIA, map_classes("synthia16", CITYSCAPES, SYNTHIA).targets),
        *("names", "Cityscapes"),
    )
    assert [CITYSCAPES[i] for i in found.unmatched] == ["terrain", "truck", "train"]
    assert find_correspondence(data, "x", 16).is_same
    assert find_correspondence(data, "x", 16, SYNTHIA).is_same
    turned = find_correspondence(data, "x", 16, SYNTHIA[::-1])
    assert turned.targets == tuple(range(15, -1, -1)) and turned.by == "names"
    assert match_names(("road",), ("road", "sky")) is None


@pytest.mark.parametrize(
    ("changes", "count", "named", "message"),
    [
        ({}, 3, (), "model has 3 classes, and the data have 2 .*class_map=TARGET:SOURCE"),
        ({}, 2, ("car", "way"), "model: class 1 is 'way' in the file and 'road' in the data"),
        ({"source_classes": "a,b,c"}, 2, (), "model has 2 classes, and source_classes names 3"),
        ({"source_classes": "a,b"}, 3, (), "model has 3 classes, and source_classes names 2"),
        ({"source_classes": "a,b"}, 2, ("a", "c"), "class 1 is 'c' in the file and 'b' in source"),
        ({"source_classes": "0:a,b"}, 2, (), "source_classes: 'b' has no id but others have"),
        (
            {"class_map": "car:van,road"},
            3,
            (),
            "source class 'van': model does not name its 3 classes: .*source_class",
        ),
        (
            {"class_map": "car:1,road"},
            3,
            (),
            "source class 'road': model does not .*numbers, from 0",
        ),
    ],
)
def test_classes_that_do_not_correspond_are_one_line(
    changes: dict[str, str], count: int, named: tuple[str, ...], message: str
) -> None:
    with pytest.raises(StvmError, match=message) as caught:
        find_correspondence(folder(**changes), "model", count, named)
    assert "\n" not in str(caught.value)


def test_names_come_from_the_setting_the_file_or_cityscapes() -> None:
    data = folder(class_map="car:car+truck+bus+train,road")
    assert find_correspondence(data, "x", 19).source == CITYSCAPES
    own = folder(classes=",".join(f"kind {number}" for number in range(19)))
    assert find_correspondence(own, "x", 19).is_same
    given = folder(class_map="car:a+c,road:b", source_classes="a,b,c")
    assert find_correspondence(given, "x", 3).targets == (0, 1, 0)
    numbered = folder(class_map="car:0+2,road:1")
    assert find_correspondence(numbered, "x", 3).targets == (0, 1, 0)
    assert find_correspondence(given, "x", 3, ("a", "b", "c")).targets == (0, 1, 0)


@pytest.mark.parametrize(
    ("changes", "count", "told"),
    [
        ({"class_map": "car,road"}, 19, "name its 19, so they are taken for those of Cityscapes"),
        ({"classes": "car,road"}, 19, "taken for those of Cityscapes in this order: road, side"),
        ({"classes": ",".join("abcdefghijklmnopqrs")}, 19, "taken for the target's in this order"),
        ({}, 2, "does not name its 2, so they are taken for the target's in this order: car, ro"),
        ({"class_map": "car:2,road:class 0"}, 3, ""),
        ({"class_map": "car,road", "source_classes": ",".join(CITYSCAPES)}, 19, ""),
    ],
)
def test_names_that_nothing_gives_are_told(changes: dict[str, str], count: int, told: str) -> None:
    found = find_correspondence(folder(**changes), "x", count)
    remark, said = found.remark("error"), "does not name its"
    assert told in remark and (said in remark) == bool(told) and "\n" not in remark
    assert ("assumed" in found.facts("error")) == bool(told)
    assert (said in found.sentence("error")) == bool(told)
    named = find_correspondence(folder(**changes), "x", count, found.source)
    assert said not in named.remark("error") and named.targets == found.targets


def test_public_files_of_21_classes_have_those_of_pascal_voc() -> None:
    data = folder(classes="person,car", class_map="person,car:car+bus+train")
    for family in ("edgenets", "torchvision"):
        found = find_correspondence(data, "x", 21, family=family)
        # Ids of VOC: 6 bus, 7 car, 15 person, 19 train.
        assert {found.source[i]: t for i, t in enumerate(found.targets) if t is not None} == {
            **{"person": 0, "car": 1, "bus": 1, "train": 1}
        }
        assert [i for i, t in enumerate(found.targets) if t is not None] == [6, 7, 15, 19]
        assert "taken for those of Pascal VOC in this order: background" in found.remark("error")
    with pytest.raises(StvmError, match="x does not name its 21 classes"):
        find_correspondence(data, "x", 21)


def test_the_sentence_tells_what_is_merged_and_what_is_left_over() -> None:
    found = map_classes("car:car+truck+bus,road,sky:-", SOURCE, (*TARGET, "sky"))
    assert found.sentence("error") == (
        "classes: 5 of the source model, 3 of the target; predictions are mapped before they are "
        "counted; car from car, truck and bus; no class of the target: rider (a pixel predicted as "
        "such a class is an error of its true class); no class of the source model: sky (IoU 0)"
    )
    assert "rider (left out of the arg max)" in found.sentence("ignored")


def test_the_settings_name_a_trial_only_if_they_matter() -> None:
    assert tiny().hash() == tiny(class_map="", source_classes="", unmatched="error").hash()
    assert tiny().hash() == tiny(unmatched="ignored").hash()
    from_file = tiny(source_checkpoint="x.pth")
    assert from_file.hash() != from_file.replace(unmatched="ignored").hash()
    assert from_file.hash() != from_file.replace(class_map="camvid10").hash()
    with pytest.raises(StvmError, match="leave source_classes out, or give source_checkpoint"):
        tiny(source_classes="a,b")


def test_a_source_model_is_named_by_its_own_classes_alone() -> None:
    roots = {"dataset": "folder", "source_root": "a", "target_root": "b"}
    own = tiny(
        **roots, classes="car,road", source_classes="0:van,1:way", class_map="car:van,road:-"
    )
    assert own.source_hash() == tiny(**roots, classes="0:van,1:way").source_hash()
    assert own.hash() != tiny(**roots, classes="0:van,1:way").hash()
    same = tiny(**roots, classes="car,road", source_classes="car,road")
    assert same.hash() == tiny(**roots, classes="car,road").hash()


def test_several_ids_name_one_class_and_others_are_ignored() -> None:
    classes = parse_classes("0:road, 8+9:vegetation,3+12:-,13+14+15:car")
    assert classes.names == ("road", "vegetation", "car")
    expected = {0: 0, 8: 1, 9: 1, 13: 2, 14: 2, 15: 2}
    assert {i: int(t) for i, t in enumerate(classes.table()) if t != 255} == expected
    assert classes.listed == {*expected, 3, 12}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0:road,8+0:car", "classes: id 0 is given twice"),
        ("0:road,8+300:car", "classes: id 300 of 'car' is not in 0..254"),
        ("0:road,8+x:car", r"classes: 'x' in '8\+x:car' is not an integer id"),
        ("3:-", "classes: 0 names and 0 ids"),
        ("8:tree,9:tree", r"name tree is given twice; .* one entry, as in 8\+9:vegetation"),
        ("0:road,3+3:-", "classes: id 3 is given twice"),
    ],
)
def test_slips_in_merged_ids_are_one_line(text: str, message: str) -> None:
    with pytest.raises(StvmError, match=message):
        parse_classes(text)
