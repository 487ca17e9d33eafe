"""Rounds with an offline pass: interrupted anywhere, a training ends as without a break."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stvm.data.datasets import open_target_images
from stvm.errors import StvmError
from stvm.objectives import minent
from stvm.objectives.kept_cross_entropy import kept_cross_entropy
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import Given, Objective, TargetBatch, TargetImages
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.source_model.ensure import ensure_source
from stvm.source_model.supervised import load_source
from stvm.training.adaptation import adapt
from stvm.training.resume import TrainingCheckpoint
from stvm.trial.run_and_record import run_and_record
from tests.helpers.tiny_settings import tiny
from tests.training.test_resume import Stop, equal, stop_at

CPU = torch.device("cpu")
ROUNDS = 3


class Toy(Objective):
    """Labels of the student at the start of each of three rounds, drawn with noise.

    It has a network of its own and other state. `interrupt` stops a pass after some images.
    """

    labels_offline = True
    interrupt: int | None = None

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.extra = nn.Linear(2, 2)
        self.steps = 0

    @classmethod
    def rounds_of(cls, own: Mapping[str, Any]) -> int:
        return ROUNDS

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        assert batch.labels is not None
        yield kept_cross_entropy(self.given.predict(batch.images), batch.labels)
        yield self.extra(torch.ones(2)).square().sum()

    def begin_round(self, number: int, images: TargetImages, labels: LabelStore | None) -> None:
        assert labels is not None
        there = labels.kept.get("noise")
        noise = torch.rand(len(images)) if there is None else torch.from_numpy(there)
        for index in range(labels.done, len(images)):
            if self.interrupt == index:
                raise Stop
            found = self.given.label(images.image(index))[0][0]
            labels.write(index, found.where(torch.rand(found.shape) < noise[index], 255))
            labels.save(index + 1, noise=noise.numpy())

    def after_step(self, iteration: int) -> None:
        self.steps += 1

    def networks(self) -> dict[str, nn.Module]:
        return {"extra": self.extra}

    def parameters(self) -> list[dict[str, Any]]:
        return [{"params": list(self.extra.parameters()), "lr": self.given.head_lr}]

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> type[Toy]:
    """`procedure=minent` means the toy objective here."""
    fresh = type("Toy", (Toy,), {})
    monkeypatch.setattr(minent, "MinEnt", fresh)
    return fresh


def settings_of(**changes: Any) -> Settings:
    return tiny(iterations=9).replace(procedure="minent", **changes)


def trained(
    settings: Settings, cache: Path, checkpoint: TrainingCheckpoint | None, progress: Any = None
) -> dict[str, Any]:
    source = load_source(settings, ensure_source(settings, cache, CPU), CPU)
    images = open_target_images(settings.data, cache)
    built, log = adapt(settings, source, images, 19, progress, checkpoint)
    return {"all": built.state_dict(), "curve": log.curve, "torch": torch.get_rng_state()}


def saved(folder: Path, every_s: float = 0) -> TrainingCheckpoint:
    return TrainingCheckpoint(folder / "state.pt", {"hash": "x"}, every_s=every_s)


@pytest.mark.slow
@pytest.mark.parametrize("iteration", [2, 3, 4, 6, 9])
def test_a_training_stopped_in_a_round_or_between_two_ends_the_same(
    iteration: int, cache: Path, tmp_path: Path
) -> None:
    whole = trained(settings_of(), cache, None)
    assert whole["all"]["objective"] == {"steps": 9}
    with pytest.raises(Stop):
        trained(settings_of(), cache, saved(tmp_path), stop_at(iteration))
    torch.randn(100)
    again = saved(tmp_path)
    assert equal(trained(settings_of(), cache, again), whole)
    assert again.resumed["iteration"] == iteration


@pytest.mark.slow
@pytest.mark.parametrize("image", [0, 5])
def test_a_training_stopped_within_a_later_pass_ends_the_same(
    image: int, cache: Path, tmp_path: Path, toy: type[Toy]
) -> None:
    whole = trained(settings_of(), cache, None)

    def stop_the_next(done: int, total: int, watch: object = None) -> None:
        toy.interrupt = image if done == 3 else None

    # A state is saved at the beginning of a round, though none is due.
    with pytest.raises(Stop):
        trained(settings_of(), cache, saved(tmp_path, every_s=1e9), stop_the_next)
    toy.interrupt = None
    again = saved(tmp_path)
    assert equal(trained(settings_of(), cache, again), whole)
    assert again.resumed["iteration"] == 3


@pytest.mark.slow
def test_without_its_labels_a_training_begins_again(cache: Path, tmp_path: Path) -> None:
    whole = trained(settings_of(), cache, None)
    with pytest.raises(Stop):
        trained(settings_of(), cache, saved(tmp_path), stop_at(5))
    shutil.rmtree(saved(tmp_path).labels)
    again = saved(tmp_path)
    assert equal(trained(settings_of(), cache, again), whole)
    assert not again.resumed and again.set_aside


@pytest.mark.slow
def test_loading_processes_see_the_labels_of_the_round(cache: Path) -> None:
    with_one = trained(settings_of(workers=1), cache, None)
    assert equal(with_one["all"], trained(settings_of(), cache, None)["all"])


@pytest.mark.slow
def test_a_finished_trial_leaves_no_labels(cache: Path, tmp_path: Path) -> None:
    results = Results(tmp_path)
    with pytest.raises(Stop):
        run_and_record(settings_of(), results, cache, CPU, progress=stop_at(4), every_s=0)
    assert list(tmp_path.rglob("labels.u8"))
    record = run_and_record(settings_of(), results, cache, CPU)
    assert record.is_done and record.run["resumed_from"] == 4
    assert not list(tmp_path.rglob("*labels*"))


@pytest.mark.slow
def test_more_rounds_than_iterations_are_refused(cache: Path) -> None:
    with pytest.raises(StvmError, match="iterations=2: procedure=minent has 3 rounds"):
        trained(settings_of(iterations=2), cache, None)
