"""Every objective in a whole trial, and interrupted: it ends as if nothing had happened."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stvm.data.datasets import open_target_images
from stvm.settings import PEERS, Settings
from stvm.source_model.ensure import ensure_source
from stvm.source_model.supervised import load_source
from stvm.training.adaptation import adapt
from stvm.training.resume import TrainingCheckpoint
from stvm.trial.run import run_trial
from tests.helpers.tiny_settings import tiny
from tests.training.test_resume import Stop, equal, stop_at

CPU = torch.device("cpu")


OWN: dict[str, dict[str, Any]] = {
    "dtst": {"dtst_rounds": 2, "dtst_first": 2, "dtst_pixels": 5},
    "shot": {"shot_rounds": 2, "shot_prior": "source"},
}
"""Settings with which six iterations reach all that a step can change."""


def settings_of(procedure: str) -> Settings:
    return tiny().replace(procedure=procedure, iterations=6, **OWN.get(procedure, {}))


def end(settings: Settings, cache: Path, checkpoint: TrainingCheckpoint | None, stop: int) -> Any:
    """All that changes, after the last iteration or where it is stopped."""
    source = load_source(settings, ensure_source(settings, cache, CPU), CPU)
    images = open_target_images(settings.data, cache)
    adaptation, log = adapt(settings, source, images, 19, stop_at(stop), checkpoint)
    state = {"adaptation": adaptation.state_dict(), "curve": log.curve, "watch": log.watch}
    return state | {"torch": torch.get_rng_state()}


@pytest.mark.slow
@pytest.mark.parametrize("procedure", PEERS)
def test_interrupted_and_resumed_ends_equal_to_the_bit(
    procedure: str, cache: Path, tmp_path: Path
) -> None:
    settings = settings_of(procedure)
    whole = end(settings, cache, None, 0)
    path = tmp_path / "state.pt"
    with pytest.raises(Stop):
        end(settings, cache, TrainingCheckpoint(path, {"hash": "x"}, every_s=0), 4)
    assert torch.load(path, weights_only=True)["state"]["iteration"] == 4
    torch.manual_seed(123)
    again = TrainingCheckpoint(path, {"hash": "x"}, every_s=0)
    assert equal(end(settings, cache, again, 0), whole)
    assert again.resumed["iteration"] == 4


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("procedure", PEERS)
def test_a_trial_has_the_result_of_every_other(procedure: str, cache: Path) -> None:
    settings = settings_of(procedure)
    outcome = run_trial(settings, cache, CPU)
    result = outcome.result
    assert result["iteration"] == 6 and len(result["curve"]) == 6
    assert {"student", "teacher", "scores", "collapsed", "parts", "idle"} <= result.keys()
    evaluated = settings.training.evaluated
    assert result["miou"] == result[evaluated]["miou"]
    followed = settings.method.mt
    assert (outcome.adaptation.teacher is not outcome.adaptation.student) == followed  # type: ignore[union-attr]
