"""What a training is given and keeps: pixels, pinned memory, random states, both losses."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stvm.data.cityscapes import CITYSCAPES
from stvm.data.images import OpenedLabelledImages
from stvm.data.labelling import Labelling
from stvm.data.streets.street_images import ArrayImages, LabelledArrays
from stvm.method.optimizer_step import descend
from stvm.method.step import StepReport
from stvm.settings import TrainingSettings
from stvm.source_model.supervised import SupervisedTraining, train_oracle
from stvm.training import loop
from stvm.training.adaptation import Training, adapt
from stvm.training.optim import PolynomialDecay, make_optimizer
from stvm.training.seeding import random_states, restore_random_states
from tests.helpers.tiny_settings import tiny
from tests.training.test_training_edges import pixels, source

WHITE = np.full((4, 64, 64, 3), 255, np.uint8)


def pinned_by_the_loader(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What a training asks of its loader from now on."""
    asked: list[bool] = []
    load = loop.batches

    def batches(*given: Any, pinned: bool) -> Any:
        asked.append(pinned)
        return load(*given, pinned=pinned)

    monkeypatch.setattr(loop, "batches", batches)
    return asked


def test_an_adaptation_sees_white_as_1_and_pins_no_memory_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Tensor] = []
    step = Training.step

    def watched(self: Training, images: Tensor, *rest: Any) -> Any:
        seen.append(images)
        return step(self, images, *rest)

    monkeypatch.setattr(Training, "step", watched)
    asked = pinned_by_the_loader(monkeypatch)
    adapt(tiny(iterations=1), source(), ArrayImages(WHITE), 19)
    assert asked == [False] and [images.unique().tolist() for images in seen] == [[1.0]]


def test_a_source_training_sees_white_as_1_and_pins_no_memory_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Tensor] = []
    loss = SupervisedTraining.loss

    def watched(self: SupervisedTraining, images: Tensor, *rest: Any) -> Tensor:
        seen.append(images)
        return loss(self, images, *rest)

    monkeypatch.setattr(SupervisedTraining, "loss", watched)
    asked = pinned_by_the_loader(monkeypatch)
    labels = np.random.default_rng(1).integers(0, 19, (4, 64, 64), dtype=np.uint8)
    arrays = LabelledArrays(WHITE, labels)
    images = OpenedLabelledImages(arrays, arrays, Labelling(CITYSCAPES))
    train_oracle(source(), images, tiny(source_iterations=1))
    assert asked == [False] and [images.unique().tolist() for images in seen] == [[1.0]]


def test_the_rate_written_down_is_the_students_and_not_the_metric_networks() -> None:
    settings = tiny(iterations=1, lr=0.01, metric_lr=0.3, loss_norm="weights")
    _, course = adapt(settings, source(), ArrayImages(pixels(4)), 19)
    assert course.curve[0]["rate"] == pytest.approx(0.01)


def test_a_metric_network_that_diverges_is_told_by_its_own_loss() -> None:
    made = Training(tiny(iterations=80), source(), ArrayImages(pixels(2)), 19)
    one = torch.tensor(1.0)
    report = replace(StepReport(*[one] * 8, banked=()), metric_loss=torch.tensor(torch.inf))
    made.adaptation = SimpleNamespace(  # type: ignore[assignment]
        step=lambda images, iteration: report, optimizers=made.adaptation.optimizers
    )
    made.decay = SimpleNamespace(step=lambda: None)  # type: ignore[assignment]
    made.step(torch.zeros(1, 3, 32, 32), 1)
    assert made.finite.value == torch.inf and made.finite.iteration == 1


def test_random_states_of_gpus_are_kept_once_used_and_given_back_to_as_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, given = [torch.tensor([1]), torch.tensor([2])], []
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: kept)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", given.append)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert random_states()["cuda"] == []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    state = random_states()
    assert state["cuda"] is kept
    for available, count, expected in ((True, 2, [kept]), (True, 1, []), (False, 2, [])):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=available: found)
        monkeypatch.setattr(torch.cuda, "device_count", lambda found=count: found)
        restore_random_states(state)
        assert given == expected
        given.clear()


def test_on_a_gpu_the_step_is_fused() -> None:
    network = source()
    on_gpu = SimpleNamespace(
        features=network.features,
        classifier=network.classifier,
        parameters=lambda: iter([SimpleNamespace(device=torch.device("cuda"))]),
    )
    assert make_optimizer(on_gpu, TrainingSettings()).defaults["fused"] is True  # type: ignore[arg-type]


def test_schedules_go_on_where_they_were_and_a_state_of_others_is_refused() -> None:
    kept, again = (
        PolynomialDecay([make_optimizer(source(), TrainingSettings(lr=0.1))], 10, 1.0)
        for _ in range(2)
    )
    kept.schedulers[0].optimizer.step()
    kept.step()
    again.load_state_dict(kept.state_dict())
    assert again.schedulers[0].last_epoch == 1
    with pytest.raises(ValueError):
        again.load_state_dict(kept.state_dict() * 2)


def test_a_weight_that_a_step_does_not_use_stays_as_it_is() -> None:
    """Neither momentum nor decay moves it, as they would with a gradient of zero."""
    used, idle = (nn.Parameter(torch.tensor(1.0)) for _ in range(2))
    plain = torch.optim.SGD([used, idle], lr=0.1, momentum=0.9, weight_decay=0.1)
    descend(plain, [used + idle])
    before = idle.item()
    descend(plain, [2 * used])
    assert idle.item() == before == pytest.approx(1 - 0.1 * (1 + 0.1))
