"""Gradient accumulation: a batch in parts is the batch, up to batch norm."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stvm.data.classes import IGNORE_INDEX
from stvm.errors import StvmError
from stvm.memory import estimate
from stvm.memory.memory_report import advice, lines
from stvm.networks import build_network
from stvm.settings import Settings
from stvm.source_model.supervised import SupervisedTraining
from stvm.training.builder import Adaptation, build_adaptation
from tests.helpers.tiny_settings import tiny

CLASSES = 5


def adapted(accumulate: int, **changes: Any) -> tuple[Adaptation, list[dict[str, Tensor]]]:
    """After four steps on batches of 4, with batch norm as the source has it."""
    torch.manual_seed(0)
    source = build_network("small_deeplab", 16, CLASSES)
    settings = Settings().replace(
        **{"channels": 16, "batch": 4, "student_bn": "frozen", "ema_period": 2, "tau_mocm": 4.0},
        **{"lr": 0.01, "accumulate": accumulate} | changes,
    )
    built = build_adaptation(settings, source, CLASSES)
    reports = [vars(built.step(torch.rand(4, 3, 32, 32), i)) for i in range(1, 5)]
    return built, reports


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss_norm": "weights"},
        {"pseudo_label_share": 0.4, "loss_norm": "weights"},
        {"mgs": False, "mocm": False, "mt": False, "labeller": "student"},
    ],
)
def test_parts_add_up_to_the_whole_batch(parts: int, changes: dict[str, Any]) -> None:
    whole, reports = adapted(1, **changes)
    parted, others = adapted(parts, **changes)
    for mine, theirs in zip(reports, others, strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            torch.testing.assert_close(theirs[name], value, rtol=2e-5, atol=1e-6)
    for mine, theirs in zip(whole.networks(), parted.networks(), strict=True):
        state = theirs.state_dict()
        for name, value in mine.state_dict().items():
            torch.testing.assert_close(state[name], value, rtol=2e-5, atol=1e-6)
    if whole.metric and parted.metric:
        values = (a.metric.thresholds.values.numpy() for a in (parted, whole))
        np.testing.assert_allclose(*values, rtol=1e-5)
        sizes = [[len(buffer) for buffer in a.step.bank.patches] for a in (whole, parted)]
        assert sizes[0] == sizes[1] and sum(sizes[0])


def test_the_student_sees_a_part_at_a_time_and_the_labeller_the_whole_batch() -> None:
    torch.manual_seed(0)
    source = build_network("small_deeplab", 16, CLASSES)
    settings = Settings().replace(channels=16, batch=4, accumulate=2)
    built = build_adaptation(settings, source, CLASSES)
    seen: dict[str, list[int]] = {"student": [], "teacher": []}
    for name, network in (("student", built.student), ("teacher", built.teacher)):
        network.features.register_forward_pre_hook(
            lambda _, inputs, name=name: seen[name].append(len(inputs[0]))
        )
    built.step(torch.rand(4, 3, 32, 32), 1)
    assert seen == {"student": [2, 2], "teacher": [4]}


@pytest.mark.parametrize("weights", [None, torch.tensor([0.3, 1.0, 2.0, 0.7, 1.5])])
def test_parts_of_a_source_batch_add_up_however_their_labels_are_spread(
    weights: Tensor | None,
) -> None:
    """The first image has no label, the second a few, the third and fourth all."""
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (4, 32, 32))
    labels[0], labels[1, 2:] = IGNORE_INDEX, IGNORE_INDEX
    found = []
    for parts in (1, 2, 4):
        torch.manual_seed(0)
        network = build_network("small_deeplab", 16, CLASSES)
        settings = Settings().replace(source_batch=4, source_accumulate=parts)
        training = SupervisedTraining(network, settings, weights)
        network.eval()  # batch norm by its running statistics, whatever the part
        for iteration in (1, 2, 3):
            training.step(pixels, labels, iteration)
        training.finite.check()
        found.append(network.state_dict())
    for other in found[1:]:
        for name, value in found[0].items():
            torch.testing.assert_close(other[name], value, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 4, "accumulate": 3}, "batch=4 cannot be split into accumulate=3 equal parts"),
        ({"source_batch": 8, "source_accumulate": 5}, "source_batch=8 cannot be split"),
        (
            {"network": "deeplabv3_resnet50", "batch": 4, "accumulate": 4},
            "accumulate=4 leaves one image in each pass.*set accumulate=2",
        ),
        (
            {"network": "deeplabv3_resnet50", "source_batch": 2, "source_accumulate": 2},
            "source_accumulate=2 leaves one image in each pass.*set source_accumulate=1",
        ),
    ],
)
def test_parts_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StvmError, match=message):
        Settings().replace(**changes)


def test_accumulation_names_its_trials_and_no_others() -> None:
    assert Settings().replace(accumulate=1, source_accumulate=1).hash() == Settings().hash()
    two = Settings().replace(accumulate=2)
    assert two.hash() != Settings().hash() and two.source_hash() == Settings().source_hash()
    source = Settings().replace(source_accumulate=2)
    assert source.source_hash() != Settings().source_hash()
    frozen = {"network": "deeplabv3_resnet50", "student_bn": "frozen"}
    assert Settings().replace(batch=2, accumulate=2, **frozen).training.accumulate == 2


@pytest.mark.slow
def test_the_estimate_counts_the_activations_of_one_part() -> None:
    sizes: dict[str, Any] = {"crop_height": 64, "crop_width": 64, "channels": 32, "batch": 4}
    kept = []
    for changes in ({}, {"accumulate": 4}, {"batch": 1}):
        settings = tiny(**sizes | changes).replace(source_checkpoint="none")
        phase = next(p for p in estimate.phases(settings) if p.name == "adaptation")
        kept.append(phase.parts[estimate._ACTIVATIONS])
        if not changes:
            assert "accumulate=4" in advice(settings, phase)
    whole, parted, single = kept
    # Labels (int64) and weights (float32) are kept of the whole batch.
    assert parted == single + 3 * 64 * 64 * (8 + 4)
    assert whole == pytest.approx(4 * single, rel=0.05)
    shown = lines(tiny(**sizes | {"accumulate": 4}).replace(source_checkpoint="none"))[0]
    assert "batch 4 in 4 parts of 64x64" in shown
