"""Trials whose source model has other classes than the target: record, pictures, predictions."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from studies.__main__ import main
from stvm.data.cityscapes import CITYSCAPES
from stvm.errors import StvmError
from stvm.networks import build_network
from stvm.pretrained import open_checkpoint, save_network
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.source_model.location import refuse_wrong_classes
from stvm.trial.inputs import check_inputs
from stvm.trial.run_and_record import run_and_record
from tests.helpers.record_fields import faults
from tests.helpers.tiny_datasets import streets
from tests.helpers.tiny_settings import tiny

CPU = torch.device("cpu")
OFF: dict[str, Any] = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
CLASSES = (
    "0:road,1:sidewalk,2:building,4:fence,5:pole,6+7:traffic sign,8+9:vegetation,10:sky,11:person,"
    "13+14+15+16:car,3+12+17+18:-"
)
"""CamVid's ten of labels that hold the train ids of all 19 classes."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders whose labels hold Cityscapes' train ids, and a checkpoint of the 19 classes."""
    made = tmp_path_factory.mktemp("others")
    for domain, split in (("source", "train"), ("target", "train"), ("target", "test")):
        for kind in ("images", "labels"):
            (made / domain / split / kind).mkdir(parents=True)
        for number, (image, ids) in enumerate(streets(f"{domain} {split}", 6, (64, 32))):
            Image.fromarray(image).save(made / domain / split / "images" / f"{number}.png")
            Image.fromarray(ids).save(made / domain / split / "labels" / f"{number}.png")
    torch.manual_seed(0)
    network = build_network("small_deeplab", 16, 19)
    save_network(network, made / "city.safetensors", CITYSCAPES)
    return made


def settings_on(root: Path, **changes: Any) -> Settings:
    plain: dict[str, Any] = {"dataset": "folder", "classes": CLASSES, "class_map": "camvid10"}
    plain |= {"source_root": str(root / "source"), "target_root": str(root / "target")}
    plain |= {"height": 32, "width": 64, "source_checkpoint": str(root / "city.safetensors")}
    return tiny(**(plain | {"channels": 16} | changes))


@pytest.mark.parametrize("rule", ["error", "ignored"])
def test_a_trial_adapts_in_the_source_classes_and_is_scored_in_the_targets(
    root: Path, tmp_path: Path, rule: str
) -> None:
    settings = settings_on(root, keep_model=True, unmatched=rule)
    lines = check_inputs([settings])
    assert len(lines) == 1 and "classes: 19 of the source model, 10 of the target" in lines[0]
    results = Results(tmp_path / "results")
    record = run_and_record(settings, results, tmp_path / "cache", CPU, "STvM")
    result = record.result
    assert len(result["class_names"]) == len(result["iou"]) == 10
    assert {len(point["shares"]) for point in result["watch"]} == {19}
    assert {len(banked) for banked in result["banked"] or []} == {19}
    silhouette = result["silhouette"] or {}
    assert len((silhouette["truth"] or {})["class"]) == 10
    assert len((silhouette["prediction"] or {})["class"]) == 19
    assert faults(record.as_dict()) == []
    given = result["correspondence"]
    assert given["source"] == list(CITYSCAPES) and given["unmatched"] == rule
    assert given["target"][14] == "car" and given["target"][12] is None
    with np.load(results.sample_path(record.hash)) as sample:
        arrays = dict(sample)
    assert set(np.unique(arrays["predictions"])) <= {*range(10), 255}
    assert rule == "error" or arrays["predictions"].max() < 10
    assert len(arrays["palette"]) == 10
    kept = results.model_path(record.hash)
    assert open_checkpoint(kept).class_names == CITYSCAPES
    # The same picture, predicted from the kept network, has the same classes.
    Image.fromarray(arrays["images"][0]).save(tmp_path / "a.png")
    given_words = ["predict", record.hash, str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    assert main([*given_words, "--results", str(results.root)]) == 0
    labels = np.array(Image.open(tmp_path / "out" / "a_labels.png"))
    assert np.array_equal(labels, arrays["predictions"][0])
    legend = (tmp_path / "out" / "classes.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in legend[1:]] == result["class_names"]


def test_source_adabn_and_oracle_are_scored_in_the_targets_classes(
    root: Path, tmp_path: Path
) -> None:
    found = {}
    for procedure in ("adapt", "adabn", "oracle"):
        settings = settings_on(
            root, procedure=procedure, source_iterations=60, source_lr=0.05, **OFF
        )
        check_inputs([settings])
        results = Results(tmp_path / "results")
        record = run_and_record(settings, results, tmp_path / "cache", CPU, procedure)
        assert len(record.result["iou"]) == 10 and "correspondence" in record.result
        found[procedure] = record.miou or 0.0
    assert found["oracle"] > found["adapt"] + 0.02


def test_source_images_labelled_as_the_target_are_scored_as_the_target_is(
    root: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(root / "target" / "test", source / "val")
    shutil.copytree(root / "source" / "train", source / "train")
    settings = settings_on(root, source_root=str(source), **OFF)
    record = run_and_record(settings, Results(tmp_path / "results"), tmp_path / "cache", CPU, "a")
    assert record.miou and record.result["source_val_miou"] == pytest.approx(record.miou)


def test_a_source_model_may_be_trained_in_classes_of_its_own(root: Path, tmp_path: Path) -> None:
    own = settings_on(root, source_checkpoint="", source_classes=",".join(CITYSCAPES), **OFF)
    check_inputs([own])
    results, cache = Results(tmp_path / "results"), tmp_path / "cache"
    record = run_and_record(own, results, cache, CPU, "Source")
    assert record.run["source"]["classes"] == 19 and len(record.result["iou"]) == 10
    other = own.replace(class_map="", classes=",".join(CITYSCAPES), source_classes="")
    again = run_and_record(other, results, cache, CPU, "Source")
    assert again.run["source_sha256"] == record.run["source_sha256"]
    assert len(list((cache / "sources").glob("*.safetensors"))) == 1
    assert len(again.result["iou"]) == 19 and "correspondence" not in again.result


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_map": "road,car"}, "target class 'sidewalk' has no source class: add sidewalk:"),
        ({"class_map": "idd7"}, "unknown target class 'drivable'"),
        ({"classes": CLASSES.replace(",3+12+17+18:-", "")}, "ids 3.* are not in the class list"),
        ({"source_classes": "a,b"}, "has 19 classes, and source_classes names 2"),
        (
            {"source_checkpoint": "", "source_classes": "road,car"},
            "unknown source class 'sidewalk'",
        ),
    ],
)
def test_classes_are_checked_before_anything_is_trained(
    root: Path, changes: dict[str, str], message: str
) -> None:
    settings = settings_on(root, **changes)
    with pytest.raises(StvmError, match=message) as caught:
        check_inputs([settings])
    assert "\n" not in str(caught.value)


def test_a_list_of_trials_refuses_a_class_map_without_torch(root: Path) -> None:
    refuse_wrong_classes([settings_on(root)])
    with pytest.raises(StvmError, match="unknown target class 'drivable'"):
        refuse_wrong_classes([settings_on(root, class_map="idd7")])
    with pytest.raises(StvmError, match="unknown source class 'lorry'"):
        refuse_wrong_classes([settings_on(root, class_map="car:lorry")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car:car+truk", "entry 'car:car.truk': unknown source class 'truk': .*'truck'"),
        ("cars:car", "unknown target class 'cars'"),
        ("car:car+car", "source class 'car' is given twice"),
        ("car", "target class 'road' has no source class"),
        ("car:3+class 3,road:0", "source class 'class 3' is given twice"),
        ("car:van", "source class 'van': the checkpoint does not name its classes: name them all"),
        ("car:tvmonitor", "source class 'tvmonitor': the checkpoint does not name"),
    ],
)
def test_a_list_refuses_a_class_map_of_a_file_without_names(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "city.pth").write_bytes(b"torch reads it later")
    given = {"source_checkpoint": str(tmp_path / "city.pth"), "classes": "car,road"}
    with pytest.raises(StvmError, match=message) as caught:
        refuse_wrong_classes([settings_on(tmp_path, class_map=text, **given)])
    assert "\n" not in str(caught.value)
    for right in ("car:car+truck,road", "car:13+14,road:0", "car:1,road:-", "car:class 1,road:0"):
        refuse_wrong_classes([settings_on(tmp_path, class_map=right, **given)])
    voc = {"network": "espnetv2", "channels": 64, "class_map": "car:tvmonitor,road:-"}
    refuse_wrong_classes([settings_on(tmp_path, **(given | voc))])
