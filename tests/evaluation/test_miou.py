"""mIoU of a trial under its protocol: the rule above a table, the record, the sizes it opens."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from studies.study_builder import evaluation_rule
from stvm.data.cityscapes import CITYSCAPES, CROSS_CITY, SUBSETS, SYNTHIA
from stvm.data.datasets import labelling_of, open_target_labelled
from stvm.data.images import EvenSubset, OpenedLabelledImages, evenly_spaced
from stvm.data.labelling import Labelling
from stvm.settings import DataSettings
from stvm.source_model.location import source_path
from stvm.source_model.supervised import load_source
from stvm.trial.run import run_trial
from tests.helpers.tiny_datasets import make_cityscapes, make_gta5
from tests.helpers.tiny_settings import tiny
from tests.settings.test_protocols import CPU, images, predicted


def test_a_protocol_at_its_default_leaves_a_trials_name_alone() -> None:
    assert tiny().hash() == tiny(protocol="image", multi_scale=False).hash()
    assert tiny(multi_scale=True).hash() != tiny().hash()
    assert tiny(multi_scale=True).source_hash() == tiny().source_hash()


def test_the_rule_above_a_table_names_protocol_and_scales() -> None:
    folder = {"dataset": "folder", "source_root": "a", "target_root": "b", "classes": "road,sky"}
    rule = evaluation_rule(tiny(protocol="adaptsegnet", multi_scale=True, **folder))
    assert "protocol adaptsegnet: images of 1024x512, labels of 2048x1024" in rule
    assert "corners aligned" in rule and "scales 0.75, 1 and 1.25" in rule
    assert "the paper gives no scales" in rule
    plain = evaluation_rule(tiny())
    assert "protocol image: images and labels of 128x64 (width x height)" in plain
    assert "MST" not in plain and plain.endswith("nothing is selected by target labels.")


@pytest.mark.slow
def test_a_record_holds_protocol_means_and_multi_scale_figures(tmp_path: Path) -> None:
    off = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    result = run_trial(tiny(multi_scale=True, **off), tmp_path, CPU).result
    assert result["protocol"] == {
        "name": "image",
        "input_size": [64, 128],
        "label_size": [64, 128],
        "align_corners": False,
    }
    multi = result["multi_scale"]
    assert multi["scales"] == [0.75, 1.0, 1.25] and multi["flip"] is True
    assert 0 <= multi["miou"] <= 1 and len(multi["iou"]) == len(result["class_names"])
    assert json.loads(json.dumps(result)) == result
    plain = run_trial(tiny(**off), tmp_path, CPU).result
    assert "multi_scale" not in plain and plain["miou"] == result["miou"]


@pytest.mark.slow
def test_a_published_target_is_measured_at_the_protocols_sizes(tmp_path: Path) -> None:
    off: dict[str, Any] = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    roots = {
        "source_root": str(make_gta5(tmp_path / "gta5", train=3)),
        "target_root": str(make_cityscapes(tmp_path / "cityscapes", train=2, val=2)),
    }
    where = {"dataset": "gta5_cityscapes", "eval_split": "val", "height": 64, "width": 128}
    settings = tiny(protocol="adaptsegnet", **off, **roots, **where)
    result = run_trial(settings, tmp_path / "cache", CPU).result
    assert result["protocol"]["input_size"] == [512, 1024]
    assert result["protocol"]["label_size"] == [1024, 2048]
    data = open_target_labelled(settings.data, "val", tmp_path, (512, 1024), (1024, 2048))
    model = load_source(settings, source_path(settings, tmp_path / "cache"), CPU).eval()
    classes = predicted(model, data, corners=True)
    labels = np.stack([data.label(i) for i in range(len(data))])
    assert labels.shape == (2, 1024, 2048)
    known = labels != 255
    expected = jaccard_score(labels[known], classes[known], average=None, labels=range(19))
    np.testing.assert_allclose(result["iou"], expected, atol=1e-12)
    for key, names in SUBSETS.items():
        chosen = [expected[CITYSCAPES.index(name)] for name in names]
        assert result["means"][key] == pytest.approx(np.mean(chosen), abs=1e-12)


def test_the_class_sets_are_those_of_the_data() -> None:
    assert labelling_of(DataSettings()).class_names == CITYSCAPES
    for dataset, names in (("synthia_cityscapes", SYNTHIA), ("cityscapes_crosscity", CROSS_CITY)):
        city = "rome" if dataset == "cityscapes_crosscity" else ""
        assert labelling_of(DataSettings(dataset=dataset, city=city)).class_names == names


def test_evenly_spaced_images_are_some_of_all() -> None:
    data = images(5)
    opened = OpenedLabelledImages(data, data, Labelling(("road", "sky")))
    some = EvenSubset(opened, 3)
    assert [bytes(some.label(i)) for i in range(3)] == [bytes(data.label(i)) for i in (0, 2, 4)]
    assert len(EvenSubset(opened, 9)) == 5
    assert some.labelling.class_names == ("road", "sky")


@pytest.mark.parametrize(
    ("count", "most", "rows"),
    [
        (6, 4, [0, 2, 3, 5]),
        (5, 3, [0, 2, 4]),
        (10, 4, [0, 3, 6, 9]),
        (4, 9, [0, 1, 2, 3]),
        (7, 1, [0]),
        (3, 2, [0, 2]),
        (0, 4, []),
    ],
)
def test_rows_are_rounded_to_the_nearest(count: int, most: int, rows: list[int]) -> None:
    """Rows of recorded trials: 0, 1.67, 3.33, 5 become 0, 2, 3, 5."""
    assert evenly_spaced(count, most) == rows
