"""The figures of a trial, single-scale and multi-scale, against one view after the other."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from stvm.data.cityscapes import CITYSCAPES, SUBSETS
from stvm.data.images import OpenedLabelledImages
from stvm.data.labelling import Labelling
from stvm.evaluation.trial_evaluator import EvaluationImages, TrialEvaluator
from stvm.settings.protocols import IMAGE
from tests.helpers.tiny_settings import tiny
from tests.settings.test_protocols import CPU, images, network, pixels_of, predicted, slow_scores


def test_each_figure_is_taken_of_its_own_scales() -> None:
    model, data = network(), images()
    opened = OpenedLabelledImages(data, data, Labelling(CITYSCAPES))
    measure = TrialEvaluator(tiny(multi_scale=True), EvaluationImages(opened, IMAGE), CPU)
    labels = np.stack([data.label(i) for i in range(len(data))])
    scores = [slow_scores(model, pixels_of(data, i), IMAGE) for i in range(len(data))]
    several = np.stack([score.argmax(0) for score in scores])
    found = measure.about(model)["multi_scale"]
    assert (found["scales"], found["flip"]) == ([0.75, 1.0, 1.25], True)
    for figures, classes in (
        (measure(model), predicted(model, data, corners=False)),
        (found, several),
    ):
        known = labels != 255
        expected = jaccard_score(labels[known], classes[known], average=None, labels=range(19))
        np.testing.assert_allclose(figures["iou"], expected, atol=1e-3)
        assert figures["miou"] == pytest.approx(expected.mean(), abs=1e-4)
        assert figures["pixel_accuracy"] == pytest.approx((labels == classes)[known].mean())
        for key, names in SUBSETS.items():
            chosen = [figures["iou"][CITYSCAPES.index(name)] for name in names]
            assert figures["means"][key] == pytest.approx(np.mean(chosen))
    assert found["miou"] != pytest.approx(measure(model)["miou"], abs=1e-3)


def test_without_the_setting_no_other_scale_is_measured() -> None:
    data = images()
    opened = OpenedLabelledImages(data, data, Labelling(CITYSCAPES))
    about = TrialEvaluator(tiny(), EvaluationImages(opened, IMAGE), CPU).about(network())
    assert about == {
        "protocol": {
            "name": "image",
            "input_size": [64, 128],
            "label_size": [64, 128],
            "align_corners": False,
        }
    }
