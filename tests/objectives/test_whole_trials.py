"""Whole trials of objectives: record, resume, watch, and the kept network."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stvm.data.datasets import open_target_images
from stvm.evaluation.collapse import CollapseMonitor
from stvm.evaluation.label_free import WATCHED_IMAGES, load_even_subset
from stvm.records.results import Results
from stvm.source_model.ensure import ensure_source
from stvm.source_model.loading import open_source_model
from stvm.training.adaptation import adapt
from stvm.trial.run_and_record import run_and_record
from tests.helpers.tiny_settings import tiny
from tests.training.test_resume import Stop, equal, stop_at

CPU = torch.device("cpu")
ROWS: dict[str, dict[str, Any]] = {
    "tent": {"procedure": "tent", "lr": 1e-3},
    "minent": {"procedure": "minent", "aug": True},
    "maxsquares": {"procedure": "maxsquares", "maxsquares_weight": "image", "start_bn": 0.5},
    "hardst": {"procedure": "hardst", "hardst_threshold": 0.1},
    "hardst_mt": {
        **{"procedure": "hardst", "hardst_threshold": 0.1, "mt": True, "ema_period": 2},
        **{"ema_momentum": 0.5, "teacher_bn": "ema", "evaluated": "teacher", "accumulate": 2},
    },
}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("row", ROWS)
def test_an_interrupted_trial_ends_with_the_record_of_a_whole_one(
    row: str, cache: Path, tmp_path: Path
) -> None:
    settings = tiny(keep_model=True, source_iterations=60).replace(**ROWS[row])
    first, second = Results(tmp_path / "a"), Results(tmp_path / "b")
    whole = run_and_record(settings, first, cache, CPU)
    with pytest.raises(Stop):
        run_and_record(settings, second, cache, CPU, progress=stop_at(4), every_s=0)
    resumed = run_and_record(settings, second, cache, CPU)
    assert resumed.run["resumed_from"] == 4
    assert resumed.result == whole.result
    name = settings.hash()
    kept, again = (load_file(results.model_path(name)) for results in (first, second))
    assert equal(kept, again)
    assert list(first.model_path(name).parent.glob("*metric*")) == []


@pytest.mark.slow
def test_the_record_has_the_shape_of_stvms(cache: Path, tmp_path: Path) -> None:
    results = Results(tmp_path)
    plain = tiny(source_iterations=150, source_lr=0.02, lr=0.01)
    ours = run_and_record(plain, results, cache, CPU)
    record = run_and_record(plain.replace(**ROWS["hardst_mt"]), results, cache, CPU)
    assert record.result.keys() == ours.result.keys()
    assert record.result["student"] != record.result["teacher"]
    assert record.result["miou"] == record.result["teacher"]["miou"]
    assert [point["iteration"] for point in record.result["watch"]] == [0, 1, 2, 3, 4, 5, 6]
    assert {"iteration", "loss", "rate", "kept"} == record.curve[0].keys()
    assert record.result["parts"].keys() == {"kept", "rate"}
    assert record.result["banked"] is None and record.settings["procedure"] == "hardst"


@pytest.mark.slow
def test_the_last_watched_point_is_that_of_the_reported_network(cache: Path) -> None:
    """TENT measures its statistics after the last step, which changes what it predicts."""
    settings = tiny(source_iterations=150, iterations=6).replace(**ROWS["tent"] | {"lr": 0.05})
    source = open_source_model(settings, ensure_source(settings, cache, CPU)).build()
    images = open_target_images(settings.data, cache)
    adaptation, log = adapt(settings, source, images, 19)
    watch = CollapseMonitor(adaptation.student, load_even_subset(images, WATCHED_IMAGES, CPU))
    assert log.watch[-1] == watch.measure(6)
    assert [point["iteration"] for point in log.watch] == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_collapse_is_marked(cache: Path, tmp_path: Path) -> None:
    """A student that labels for itself at a high rate falls to few classes."""
    own = {"procedure": "minent", "lr": 0.3, "iterations": 40, "batch": 2}
    settings = tiny(source_iterations=150, source_lr=0.02).replace(**own)
    record = run_and_record(settings, Results(tmp_path), cache, CPU)
    assert record.is_done and record.result["collapsed"]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_the_rate(cache: Path, tmp_path: Path) -> None:
    settings = tiny().replace(procedure="minent", lr=1e30)
    record = run_and_record(settings, Results(tmp_path), cache, CPU)
    assert record.status == "failed" and record.failure
    assert "lower lr" in record.failure["error"] and "metric_lr" not in record.failure["error"]
