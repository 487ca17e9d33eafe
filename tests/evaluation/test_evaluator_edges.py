"""Evaluation at its limits: sizes of a pass, 255 classes, and what multi-scale testing reports."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import torch

from stvm.data.batches import batch_size
from stvm.evaluation.evaluate import evaluate, multi_scale_scores
from stvm.evaluation.miou import confusion_matrix, score
from stvm.evaluation.trial_evaluator import TrialEvaluator, open_evaluation_images
from stvm.settings.protocols import IMAGE, Protocol
from tests.helpers.tiny_settings import tiny
from tests.settings.test_protocols import CPU, images, network, pixels_of, slow_scores


def test_a_pass_takes_two_million_pixels_at_most_and_one_image_at_least() -> None:
    limits = {2048 * 1024: 1, 1024 * 1024: 2, 1024 * 1024 + 1: 1, 2048 * 4096: 1, 1: 8}
    assert {pixels: batch_size(pixels) for pixels in limits} == limits


def test_255_classes_are_counted_and_one_without_a_label_has_no_iou() -> None:
    counts = confusion_matrix(torch.tensor([0, 254, 254]), torch.tensor([0, 254, 1]), 255)
    assert counts.shape == (255, 255) and counts.sum() == 3
    found = score(counts)
    assert (found.iou[0], found.iou[1], found.iou[254]) == (1.0, None, 0.5)
    assert found.miou == 0.75


def test_images_are_enlarged_to_twice_their_size_where_a_scale_says_so() -> None:
    model, protocol = network(), Protocol("own", "", scales=(2.0,), flip=False)
    pixels = pixels_of(images(1), 0)
    with torch.no_grad():
        found = multi_scale_scores(model, pixels, (64, 128), protocol)[0]
    torch.testing.assert_close(
        found.double(), torch.from_numpy(slow_scores(model, pixels, protocol)), atol=2e-4, rtol=0
    )


def test_multi_scale_figures_stand_beside_those_of_one_scale(cache: Path) -> None:
    settings, model = tiny(multi_scale=True), network()
    data = open_evaluation_images(settings, cache)
    evaluator = TrialEvaluator(settings, data, CPU)
    one, many = (evaluate(model, data, 19, CPU, IMAGE, views) for views in (False, True))
    assert one.miou != many.miou
    assert evaluator(model)["miou"] == one.miou
    assert evaluator.about(model)["multi_scale"]["miou"] == many.miou
    with pytest.raises(FrozenInstanceError):
        evaluator.device = CPU  # type: ignore[misc]
