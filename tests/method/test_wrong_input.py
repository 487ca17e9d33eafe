"""Wrong input of the library's parts gives one clear line, or the result that it should."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import stvm

CLASSES = 4


def maps(n: int = 2, side: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, labels, reliability and distances that every bank takes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (n, side, side), generator=generator)
    images = torch.rand(n, 3, side, side, generator=generator)
    return (
        images,
        labels,
        torch.rand(n, side, side, generator=generator),
        torch.zeros(n, side, side),
    )


def network(dtype: torch.dtype = torch.float32) -> stvm.SegmentationNetwork:
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
    return stvm.wrap_network(features=features, classifier=nn.Conv2d(6, CLASSES, 1)).to(dtype)


def step_of(student: stvm.SegmentationNetwork) -> stvm.AdaptationStep:
    teacher = stvm.MeanTeacher(student, period=1)
    head = nn.Conv2d(6, 5, 1).to(next(student.parameters()))
    sizes = {"num_classes": CLASSES, "embedding_size": 5}
    return stvm.AdaptationStep(
        student,
        label=teacher.labeller(),
        learn_metric=stvm.MetricLearner(head, **sizes).train_step,
        bank=stvm.PatchBank(CLASSES, max_distance=4),
        optimizer=torch.optim.SGD(student.parameters(), 1e-2),
        update_teacher=partial(teacher.update, student),
        augment=lambda images: images,
    )


def test_the_whole_step_runs_in_double_precision_as_in_single() -> None:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    reports = []
    for dtype in (torch.float32, torch.float64):
        step = step_of(network(dtype))
        reports.append([step(images.to(dtype), iteration) for iteration in (1, 2)][-1])
    single, double = reports
    assert double.loss.dtype == double.metric_loss.dtype == torch.float64
    assert float(double.pasted) > 0.5
    for name in ("loss", "metric_loss", "distance", "selected"):
        wanted = pytest.approx(float(getattr(double, name)), rel=1e-3)
        assert float(getattr(single, name)) == wanted, name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_thresholds_take_shares_of_another_precision(dtype: torch.dtype) -> None:
    _, labels, shares, _ = maps()
    shares = shares.half().to(dtype)
    thresholds, others = stvm.ClassThresholds(CLASSES), stvm.ClassThresholds(CLASSES)
    assert torch.equal(thresholds(shares, labels), others(shares.float(), labels))
    torch.testing.assert_close(thresholds.values, others.values)


@pytest.mark.parametrize("label", [CLASSES, 255, -1])
def test_a_bank_refuses_a_label_of_no_class(label: int) -> None:
    """Label 4 of the first of two images would count as class 0 of the second."""
    images, labels, trust, distances = maps()
    labels[0, :2] = label
    for unit in ("class", "component"):
        bank = stvm.PatchBank(CLASSES, unit=unit)
        with pytest.raises(stvm.StvmError, match="a class from 0 to 3"):
            bank.store(images, labels, trust, distances)
        assert bank.banked == [0] * CLASSES


def test_a_bank_keeps_no_graph() -> None:
    images, labels, trust, distances = maps()
    bank = stvm.PatchBank(CLASSES)
    bank.store(images.requires_grad_() * 1, labels, trust.requires_grad_() * 1, distances)
    assert not any(p.reliability.requires_grad for patches in bank.patches for p in patches)


def banked(**changes: Tensor) -> None:
    names = ("images", "pseudo_labels", "reliability", "distances")
    stvm.PatchBank(CLASSES).store(**{**dict(zip(names, maps(), strict=True)), **changes})


def pasted_smaller() -> None:
    bank = stvm.PatchBank(CLASSES)
    bank.store(*maps(side=8))
    bank.paste(*maps(side=4)[:3])


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "bytes are banked": (
        lambda: banked(images=torch.zeros(2, 3, 8, 8, dtype=torch.uint8)),
        r"uint8.*images\.float\(\) / 255",
    ),
    "other number of images": (lambda: banked(images=torch.rand(3, 3, 8, 8)), r"\(3, 3, 8, 8\)"),
    "smaller images": (pasted_smaller, "give all images one size"),
    "bytes are adapted on": (
        lambda: step_of(network())(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), 1),
        "AdaptationStep: images are torch.uint8",
    ),
    "a pair is adapted on": (
        lambda: step_of(network())((torch.rand(2, 3, 8, 8), 0), 1),
        "images are tuple",
    ),
    "state of other classes": (
        lambda: stvm.PatchBank(3).load_state_dict(stvm.PatchBank(CLASSES).state_dict()),
        "4 classes and num_classes is 3",
    ),
    "unknown order": (lambda: stvm.PatchBank(3, order="large"), "did you mean 'large_first'"),
    "unknown unit": (lambda: stvm.PatchBank(3, unit="classes"), "did you mean 'class'"),
    "unknown rule of batch norm": (
        lambda: stvm.MeanTeacher(network(), bn="tracks"),
        "MeanTeacher bn 'tracks': did you mean 'track'",
    ),
    "a threshold of no class": (
        lambda: stvm.ClassThresholds(3)(maps()[2], maps()[1]),
        "ClassThresholds: a label is 3, not a class from 0 to 2",
    ),
    "unknown balance": (
        lambda: stvm.MetricLearner(nn.Conv2d(6, 5, 1), balance="rare"),
        "did you mean 'rarest'",
    ),
    "weights that would be broadcast": (
        lambda: stvm.weighted_cross_entropy(
            torch.rand(2, CLASSES, 8, 8), maps()[1], torch.ones(2, 1, 8, 8)
        ),
        "one weight for each label",
    ),
    "unknown norm": (
        lambda: stvm.weighted_cross_entropy(torch.rand(2, CLASSES, 8, 8), *maps()[1:3], "pixel"),
        "did you mean 'pixels'",
    ),
    "AdaBN of no batch norm": (
        lambda: stvm.adapt_batch_norm(nn.Conv2d(3, 4, 1), [torch.rand(1, 3, 8, 8)]),
        "Conv2d has no nn.BatchNorm2d",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_gives_one_line(name: str) -> None:
    act, message = WRONG[name]
    with pytest.raises(stvm.StvmError, match=message) as error:
        act()
    assert "\n" not in str(error.value)


def test_adabn_without_a_batch_leaves_the_network_as_it_is() -> None:
    student = network().train()
    student(torch.rand(2, 3, 8, 8))
    before = copy.deepcopy(student.state_dict())
    used = iter([torch.rand(2, 3, 8, 8)])
    next(used)
    with pytest.raises(stvm.StvmError, match="no batch"):
        stvm.adapt_batch_norm(student, used)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert student.training


def test_a_batch_norm_that_gpus_share_follows_too() -> None:
    """A SyncBatchNorm is no BatchNorm2d, and equals one where there is a single process."""
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    shared = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(plain))
    images = torch.rand(2, 3, 8, 8)
    teachers = [stvm.MeanTeacher(each) for each in (plain, shared)]
    for teacher in teachers:
        teacher(images)
    for each in (plain, shared):
        stvm.adapt_batch_norm(each, [images])
    for one, two in ((t.network for t in teachers), (plain, shared)):
        assert one[1].running_mean.abs().max() > 0
        assert torch.equal(one[1].running_mean, two[1].running_mean)


def test_a_teacher_refuses_a_variance_of_one_value() -> None:
    """One image pooled to one pixel, as in DeepLab: the variance would be nan from then on."""
    pooled = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))
    teacher = stvm.MeanTeacher(pooled)
    with pytest.raises(stvm.StvmError, match="two images or more"):
        teacher(torch.rand(1, 3, 8, 8))
    assert teacher(torch.rand(2, 3, 8, 8)).isfinite().all()
    assert stvm.MeanTeacher(pooled, bn="copy")(torch.rand(1, 3, 8, 8)).isfinite().all()


def test_a_batch_norm_without_statistics_needs_none() -> None:
    norm = nn.BatchNorm2d(3, track_running_stats=False, affine=False)
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(stvm.MeanTeacher(norm)(images), norm(images))


def test_a_copied_head_pads_as_the_classifier() -> None:
    classifier = nn.Conv2d(4, CLASSES, 3, padding=1, padding_mode="reflect")
    wrapped = stvm.wrap_network(features=nn.Conv2d(3, 4, 1), classifier=classifier)
    assert wrapped.new_head(8).padding_mode == "reflect"
