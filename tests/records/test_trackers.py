"""MLflow and Weights & Biases: what their local stores hold, read back; nothing goes anywhere."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studies.__main__ import main
from stvm.errors import StvmError
from stvm.files.sqlite import sqlite_url
from stvm.records import trackers
from stvm.records.record import Record
from stvm.records.results import Results
from tests.helpers.command_output import NAMES, refused

RUN = {"started": "2026-11-26T02:03:31+00:00", "seconds": 2.5, "device": "cpu"}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """A done trial with a curve, scores and pictures, and one that failed, in an awkward folder."""
    results = Results(tmp_path / "a b%20?#")
    curve = [{"iteration": i, "loss": 0.5 / i} for i in (2, 4)]
    result = {"miou": 0.25, "iteration": 4, "curve": curve, "scores": {"entropy": 0.125}}
    result |= {"split": "test"}
    record: dict[str, Any] = {"hash": NAMES[1], "status": "done", "settings": {"alpha": 2.0}}
    record |= {"result": result, "failure": None, "variant": "STvM seed 0", "run": RUN}
    results.write(Record.from_dict(record))
    label = np.zeros((1, 4, 6), np.uint8)
    sample = {"images": np.full((1, 4, 6, 3), 7, np.uint8), "labels": label, "predictions": label}
    results.write_sample(NAMES[1], sample | {"palette": np.array([[1, 2, 3]], np.uint8)})
    failure = {"error": "loss is nan", "iteration": 3, "seed": 1}
    failed = {"hash": NAMES[2], "status": "failed", "result": None, "failure": failure}
    results.write(Record.from_dict(record | failed))
    return results


@pytest.mark.slow
def test_mlflow_holds_what_the_records_hold(results: Results) -> None:
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    from mlflow.tracking import MlflowClient

    assert main(["track", "mlflow", "--results", str(results.root)]) == 0
    client = MlflowClient(tracking_uri=sqlite_url(results.root / "mlflow" / "mlflow.db"))
    experiment = client.get_experiment_by_name("stvm")
    assert experiment
    runs = {r.data.tags["stvm_hash"]: r for r in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {NAMES[1], NAMES[2]}
    done, failed = runs[NAMES[1]], runs[NAMES[2]]
    assert (done.info.status, failed.info.status) == ("FINISHED", "FAILED")
    assert done.info.run_name == "STvM seed 0" and done.data.params == {"alpha": "2.0"}
    assert done.info.end_time - done.info.start_time == 2500
    assert done.data.metrics == {
        "training/loss": 0.125,
        "label-free scores/entropy": 0.125,
        "evaluation only target labels/miou": 0.25,
    }
    losses = client.get_metric_history(done.info.run_id, "training/loss")
    assert [(point.step, point.value) for point in losses] == [(2, 0.25), (4, 0.125)]
    assert failed.data.tags["stvm_failure"] == "loss is nan"
    # Below the results, and not wherever the command was started.
    pictures = list((results.root / "mlflow" / "artifacts").rglob("pictures/*.png"))
    assert len(pictures) == 1
    # What a killed process began is begun again; what is whole is left.
    client.create_run(experiment.experiment_id, tags={"stvm_run": f"{NAMES[2]}-20261126020331"})
    client.delete_run(failed.info.run_id)
    assert trackers.write(results, results.names(), ["mlflow"]) == {"mlflow": 1}
    assert trackers.write(results, results.names(), ["mlflow"]) == {"mlflow": 0}


def logged(path: Path) -> list[Any]:
    """Records of an offline run: LevelDB's log of protocol buffers, behind seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole, found = path.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        part = data[place + 7 : place + 7 + size]
        whole, place = (part if kind in (1, 2) else whole + part), place + 7 + size
        if kind in (1, 4):
            found.append(Record.FromString(whole))
    return found


@pytest.mark.slow
def test_an_offline_run_holds_what_the_record_holds(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.setenv("WANDB_MODE", "online")
    assert trackers.write(results, [NAMES[1], "0" * 12], ["wandb"]) == {"wandb": 1}
    (run,) = (results.root / "wandb").iterdir()
    assert run.name == f"{NAMES[1]}-20261126020331"
    (path,) = run.rglob("*.wandb")
    assert path.parent.name.startswith("offline-run-")
    kinds = [(record.WhichOneof("record_type"), record) for record in logged(path)]
    about = next(record.run for kind, record in kinds if kind == "run")
    config = {item.key: json.loads(item.value_json) for item in about.config.update}
    assert about.run_id == run.name and about.display_name == "STvM seed 0"
    assert config["alpha"] == 2.0 and config["stvm.hash"] == NAMES[1]
    rows = [
        {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item}
        for kind, record in kinds
        if kind == "history"
    ]
    shown = [{k: v for k, v in row.items() if not k.startswith("_")} for row in rows]
    assert shown[0] == {"iteration": 2, "training/loss": 0.25}
    last = {"iteration": 4, "training/loss": 0.125, "label-free scores/entropy": 0.125}
    assert shown[1] == last | {"evaluation only, target labels/miou": 0.25}
    assert shown[2]["image, label and prediction/count"] == 1
    assert len(list(run.rglob("*.png"))) == 1
    before = path.read_bytes()
    assert trackers.write(results, [NAMES[1]], ["wandb"]) == {"wandb": 0}
    assert path.read_bytes() == before


def test_without_the_package_one_line_names_it(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("mlflow", "wandb"):
        said = refused(capsys, "track", name, "--results", str(results.root))
        assert f'pip install -e ".[{name}]"' in said and not (results.root / name).exists()


def test_a_store_that_refuses_is_one_line(results: Results) -> None:
    (results.root / "mlflow").write_text("mine")
    with pytest.raises(StvmError, match="mlflow is a file"):
        trackers.write(results, [NAMES[1]], ["mlflow"])
    assert (results.root / "mlflow").read_text() == "mine"
