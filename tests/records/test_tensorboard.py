"""Event files of a trial, read back by TensorBoard itself."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studies.ablation import main
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.records.tensorboard_events import EVALUATION, strips, write_missing, write_trial
from stvm.trial.run_and_record import run_and_record
from tests.helpers.tiny_settings import ASSIGNMENTS, tiny


@pytest.mark.slow
def test_event_files_hold_the_records_numbers_and_pictures(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    results = Results(tmp_path / "results")
    record = run_and_record(tiny(), results, tmp_path / "cache", torch.device("cpu"), "STvM")
    write_trial(results, record)
    folder = results.root / "tensorboard" / record.hash
    before = sorted(folder.iterdir())
    write_missing(results, [record.hash, "0" * 12])
    assert sorted(folder.iterdir()) == before and len(before) == 1
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    (miou,) = events.Scalars(f"{EVALUATION}/miou")
    assert (miou.step, miou.value) == (6, pytest.approx(record.result["miou"], abs=1e-6))
    losses = [(e.step, e.value) for e in events.Scalars("training/loss")]
    curve = [(p["iteration"], pytest.approx(p["loss"])) for p in record.result["curve"]]
    assert losses == curve and curve
    assert len(events.Tags()["images"]) == 4


def test_what_is_watched_without_labels_is_written_and_what_is_missing_is_not(
    tmp_path: Path,
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    watch = [{"iteration": i, "shares": [0.5, 0.5], "entropy": 0.1 * i} for i in range(3)]
    scores = {"entropy": 0.5, "silhouette": None}
    result: dict[str, Any] = {"iteration": 2, "watch": watch, "scores": scores}
    record = Record("abc", "done", {"alpha": 2}, {"miou": 0.5} | result)
    results = Results(tmp_path)
    write_trial(results, record)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "abc"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        "target without labels/entropy",
        "label-free scores/entropy",
        f"{EVALUATION}/miou",
    }


def test_strips_colour_labels_by_the_palette() -> None:
    labels = np.array([[[0, 1, 255]]], np.uint8)
    palette = np.array([[9, 8, 7], [1, 2, 3]], np.uint8)
    images = np.full((1, 1, 3, 3), 5, np.uint8)
    sample = {"images": images, "labels": labels, "predictions": 1 - labels % 2, "palette": palette}
    (strip,) = strips(sample)
    assert strip.shape == (1, 9, 3)
    assert strip[0, 3:6].tolist() == [[9, 8, 7], [1, 2, 3], [0, 0, 0]]
    assert strip[0, 6:].tolist() == [[1, 2, 3], [9, 8, 7], [9, 8, 7]]


def test_without_the_package_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["--tensorboard", "--results", str(tmp_path / "r"), *ASSIGNMENTS]) == 2
    assert 'pip install -e ".[tensorboard]"' in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_trial_that_ran_again_is_not_shown_by_the_files_of_its_failure(tmp_path: Path) -> None:
    results, name = Results(tmp_path), "0" * 12
    results.write(Record(name, "failed"))
    (tmp_path / "tensorboard" / name).mkdir(parents=True)
    (tmp_path / "tensorboard" / name / "events").write_text("failed")
    results.set_aside(name)
    assert not (tmp_path / "tensorboard" / name).exists()
    assert (tmp_path / "retried" / f"{name}-1-tensorboard" / "events").read_text() == "failed"
