"""Mapped predictions against a slow twin, pixel by pixel, and against cityscapesscripts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from stvm.data.cityscapes import CITYSCAPES, SYNTHIA
from stvm.data.correspondence import Correspondence, map_classes, same_classes
from stvm.data.images import OpenedLabelledImages
from stvm.data.labelling import Labelling
from stvm.data.streets.street_images import LabelledArrays
from stvm.evaluation.class_mapping import ClassMapping, Rule, predicted_classes
from stvm.evaluation.evaluate import evaluate
from stvm.evaluation.label_quality import pseudo_label_auroc
from stvm.evaluation.trial_evaluator import EvaluationImages, TrialEvaluator
from stvm.settings.protocols import IMAGE
from tests.helpers.tiny_settings import tiny
from tests.settings.test_protocols import (
    CPU,
    by_cityscapesscripts,
    images,
    network,
    pixels_of,
    slow_scores,
)

CAMVID = ["road", "sidewalk", "building", "fence", "pole", "traffic sign", "vegetation", "sky"]
CAMVID += ["person", "car"]
TARGETS = {"camvid10": CAMVID, "synthia16": list(SYNTHIA)}
RULES: tuple[Rule, ...] = ("error", "ignored")


def slow_classes(scores: NDArray[Any], classes: Correspondence, rule: Rule) -> NDArray[Any]:
    """The target class of each pixel by names; 255 for an unmatched one."""
    found = np.full(scores.shape[1:], 255, np.uint8)
    allowed = [n for n, t in enumerate(classes.targets) if rule == "error" or t is not None]
    for y, x in np.ndindex(*found.shape):
        column = scores[:, y, x].tolist()
        target = classes.targets[max(allowed, key=column.__getitem__)]
        if target is not None:
            found[y, x] = target
    return found


def slow_iou(labels: NDArray[Any], found: NDArray[Any], count: int) -> list[float]:
    """Intersection over union of each class over the labelled pixels."""
    known = labels != 255
    ious = []
    for number in range(count):
        both = known & (labels == number) & (found == number)
        either = known & ((labels == number) | (found == number))
        ious.append(both.sum() / either.sum())
    return ious


def data_of(classes: Correspondence) -> LabelledArrays:
    """Noise whose labels hold every target class, and 255."""
    return images(width=96, scale=1, classes=len(classes.target))


def logits_of(data: LabelledArrays) -> list[NDArray[Any]]:
    with torch.no_grad():
        return [network()(pixels_of(data, i))[0].numpy() for i in range(len(data))]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", TARGETS)
def test_mapped_figures_equal_the_slow_twin(name: str, rule: Rule) -> None:
    classes = map_classes(name, CITYSCAPES, TARGETS[name])
    data, mapping = data_of(classes), ClassMapping.of(classes, rule)
    labels = np.stack([data.label(i) for i in range(len(data))])
    found = np.stack([slow_classes(scores, classes, rule) for scores in logits_of(data)])
    assert (255 in found) == (rule == "error")
    score = evaluate(network(), data, len(classes.target), CPU, mapping=mapping)
    np.testing.assert_allclose(score.iou, slow_iou(labels, found, len(classes.target)), atol=1e-12)
    assert score.miou == pytest.approx(np.mean(score.iou))
    known = labels != 255
    assert score.pixel_accuracy == pytest.approx((labels == found)[known].mean())
    opened = OpenedLabelledImages(data, data, Labelling(classes.target))
    measure = TrialEvaluator(tiny(multi_scale=True), EvaluationImages(opened, IMAGE), CPU, mapping)
    assert measure(network())["iou"] == score.iou


def test_several_views_are_summed_in_the_source_classes_and_mapped_then() -> None:
    classes = map_classes("camvid10", CITYSCAPES, CAMVID)
    data = images(scale=2, classes=10)
    sums = [slow_scores(network(), pixels_of(data, i), IMAGE) for i in range(len(data))]
    for rule in RULES:
        mapping = ClassMapping.of(classes, rule)
        score = evaluate(network(), data, 10, CPU, multi_scale=True, mapping=mapping)
        found = np.stack([slow_classes(scores, classes, rule) for scores in sums])
        labels = np.stack([data.label(i) for i in range(len(data))])
        np.testing.assert_allclose(score.iou, slow_iou(labels, found, 10), atol=1e-3)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", TARGETS)
def test_mapped_figures_equal_cityscapesscripts(name: str, rule: Rule, tmp_path: Path) -> None:
    classes = map_classes(name, CITYSCAPES, TARGETS[name])
    data, mapping = data_of(classes), ClassMapping.of(classes, rule)
    assert mapping
    score = evaluate(network(), data, len(classes.target), CPU, mapping=mapping)
    train_id = np.full(256, 255, np.uint8)
    train_id[: len(classes.target)] = [CITYSCAPES.index(name) for name in classes.target]
    labels = np.stack([data.label(i) for i in range(len(data))])
    found = np.stack([slow_classes(scores, classes, rule) for scores in logits_of(data)])
    theirs = by_cityscapesscripts(tmp_path, train_id[labels], train_id[found])
    for target, value in zip(classes.target, score.iou, strict=True):
        assert value == pytest.approx(theirs["classScores"][target], abs=1e-9)
    assert score.miou == pytest.approx(theirs["averageScoreClasses"], abs=1e-9)


def test_a_class_that_stands_for_itself_is_mapped_to_itself() -> None:
    data = images(width=96, scale=1)
    classes = Correspondence(CITYSCAPES, CITYSCAPES, tuple(range(19)), "map")
    assert ClassMapping.of(same_classes(CITYSCAPES), "error") is None
    mapped = evaluate(network(), data, 19, CPU, mapping=ClassMapping.of(classes, "error"))
    assert mapped == evaluate(network(), data, 19, CPU)


def test_a_target_class_without_source_class_has_no_right_pixel() -> None:
    classes = map_classes("a:x,b:-,c:y", ("x", "y"), ("a", "b", "c"))
    mapping = ClassMapping.of(classes, "error")
    scores = torch.tensor([[2.0, 0.0], [1.0, 3.0]]).view(1, 2, 1, 2)
    assert predicted_classes(scores, mapping).tolist() == [[[0, 2]]]
    labels = np.arange(32, dtype=np.uint8).repeat(32).reshape(1, 32, 32) % 3
    data = LabelledArrays(np.zeros((1, 32, 32, 3), np.uint8), labels)
    score = evaluate(network(2), data, 3, CPU, mapping=mapping)
    assert score.iou[1] == 0 and score.miou == pytest.approx(sum(filter(None, score.iou)) / 3)


def test_a_label_of_no_class_is_refused_though_there_is_a_column_more() -> None:
    classes = map_classes("camvid10", CITYSCAPES, CAMVID)
    with pytest.raises(ValueError, match="neither below 10 nor 255"):
        evaluate(network(), images(classes=11), 10, CPU, mapping=ClassMapping.of(classes, "error"))


@pytest.mark.parametrize("rule", RULES)
def test_pseudo_labels_are_right_by_their_target_class(rule: Rule) -> None:
    rng = np.random.default_rng(3)
    classes = map_classes("camvid10", CITYSCAPES, CAMVID)
    labels = rng.integers(0, 11, (2, 20, 20)).astype(np.uint8)
    labels[labels == 10] = 255
    data = LabelledArrays(np.zeros((2, 20, 20, 3), np.uint8), labels)
    given = torch.from_numpy(rng.integers(0, 19, (2, 20, 20)))
    given[:, ::2] = torch.from_numpy(rng.integers(0, 10, (2, 10, 20)))
    sure = torch.from_numpy(rng.random((2, 20, 20)))
    right, scores = [], []
    for n, y, x in np.ndindex(2, 20, 20):
        label, target = int(labels[n, y, x]), classes.targets[int(given[n, y, x])]
        if label == 255 or (target is None and rule == "ignored"):
            continue
        right.append(target == label)
        scores.append(float(sure[n, y, x]))
    read = {"labels": given, "sure": sure}
    mapping = ClassMapping.of(classes, rule)
    found = pseudo_label_auroc(lambda _: dict(read), data, CPU, mapping)
    assert found["sure"] == pytest.approx(roc_auc_score(right, scores), abs=1e-9)
