"""A record whose figures tables cannot show is refused; one at the edges of its range is not."""

from pathlib import Path
from typing import Any

import pytest

from stvm.errors import StvmError
from stvm.records.record import read_record
from tests.helpers.command_output import NAMES, put, synthetic

NAME = NAMES[1]


@pytest.mark.parametrize("miou", [0, 0.0, 1, 1.0])
def test_none_right_and_all_right_are_results(miou: float, tmp_path: Path) -> None:
    record = read_record(put(tmp_path, synthetic(NAME, miou)))
    assert record and record.miou == miou


def test_a_field_that_is_null_is_as_one_that_was_never_written(tmp_path: Path) -> None:
    whole = synthetic(NAME, auroc=None, scores={"agreement": None}, iteration=0)
    record = read_record(put(tmp_path, whole))
    assert record and record.result.keys() == {"miou", "iou", "scores", "iteration"}
    assert record.auroc == {} and record.scores == {"agreement": None}


@pytest.mark.parametrize("miou", [-0.001, 1.001, True, "0.5", None])
def test_what_is_no_fraction_is_no_mean_iou(miou: Any, tmp_path: Path) -> None:
    whole = synthetic(NAME)
    whole["result"]["miou"] = miou
    with pytest.raises(StvmError, match=f"{NAME}.json: 'miou' is {miou}|'0.5'"):
        read_record(put(tmp_path, whole))


@pytest.mark.parametrize(
    ("field", "sound", "unsound"),
    [
        ("iou", [0.5, None, 1], [0.5, "1"]),
        ("class_names", ["road"], ["road", 1]),
        ("auroc", {"confidence": None, "reliability": 0.5}, {"confidence": "high"}),
        ("scores", {"entropy": 0.5, "agreement": None}, {"entropy": True}),
        ("means", {"16": 0.5, "13": None}, {"16": [0.5]}),
        ("protocol", {"name": "image"}, {"name": None}),
        ("protocol", {"name": "image", "later": 1}, {}),
        ("multi_scale", {"miou": 0.5, "scales": [0.75, 1]}, {"miou": 0.5, "scales": ["small"]}),
        ("multi_scale", {"miou": 0.5, "means": {"16": 0.5}}, {"miou": 0.5, "means": {"16": "x"}}),
        ("multi_scale", {"miou": None, "iou": [None]}, {"miou": "0.5"}),
        ("correspondence", {"source": ["a"], "target": [None]}, {"source": ["a"], "target": []}),
        ("correspondence", {"source": [], "target": []}, {"source": [1], "target": ["b"]}),
        ("silhouette", {"truth": {"class_mean": 0.5}, "prediction": None}, {"truth": 0.5}),
        ("silhouette", {"prediction": {"overall_mean": -1}}, {"truth": {"overall_mean": "x"}}),
        ("curve", [{"iteration": 1, "loss": None}], [{"loss": 0.5}]),
        ("curve", [], [{"iteration": 1, "loss": "nan"}]),
        ("watch", [{"iteration": 0, "shares": [1.0, 0]}], [{"iteration": 0, "shares": None}]),
    ],
)
def test_each_field_that_tables_show_has_its_form(
    field: str, sound: Any, unsound: Any, tmp_path: Path
) -> None:
    whole = synthetic(NAME)
    whole["result"][field] = sound
    record = read_record(put(tmp_path, whole))
    assert record and record.result[field] == sound  # type: ignore[literal-required]
    whole["result"][field] = unsound
    path = put(tmp_path, whole)
    with pytest.raises(StvmError) as told:
        read_record(path)
    assert str(told.value) == f"{path}: '{field}' holds no figures; move it away and run again"
    if field in ("curve", "watch"):
        plain = read_record(path, curves=False)
        assert plain and field not in plain.result
