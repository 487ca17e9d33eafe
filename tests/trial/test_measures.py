"""What an adapted network is measured by, against scikit-learn and the enlarged features."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_samples
from torch import Tensor
from torch.nn import functional as F

from stvm.data.batches import as_input
from stvm.data.datasets import open_target_images
from stvm.evaluation.label_free import load_even_subset
from stvm.source_model.ensure import ensure_source
from stvm.source_model.supervised import load_source
from stvm.training.adaptation import adapt
from stvm.trial.measures import (
    AdaptedPredictor,
    measure_adaptation,
    metric_silhouette,
    unlabelled_silhouette,
)
from tests.helpers.tiny_settings import tiny

CPU = torch.device("cpu")


class Held:
    """Two small images with labels, some of them ignored."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
        self.ids = rng.choice(np.array([0, 1, 2, 8, 255], np.uint8), (2, 24, 32))

    def __len__(self) -> int:
        return 2

    def image(self, index: int) -> np.ndarray:
        return self.pixels[index]

    def label(self, index: int) -> np.ndarray:
        return self.ids[index]


@pytest.fixture(scope="module")
def reader(cache: Path) -> AdaptedPredictor:
    return adapted(cache)


def adapted(cache: Path, **changes: object) -> AdaptedPredictor:
    settings = tiny(source_iterations=150, **changes)
    source = load_source(settings, ensure_source(settings, cache, CPU), CPU)
    adaptation, _ = adapt(settings, source, open_target_images(settings.data, cache), 19)
    return AdaptedPredictor(settings, adaptation)


@torch.no_grad()
def test_labels_are_measured_at_the_size_at_which_the_network_labels(
    reader: AdaptedPredictor,
) -> None:
    images = torch.rand(1, 3, 24, 32)
    network = reader.adaptation.step.label.network.eval()
    larger = F.interpolate(images, (48, 64), mode="bilinear")
    scores = F.interpolate(network.logits(larger), (24, 32), mode="bilinear")
    confidence = scores.softmax(1).amax(1)
    scaled = AdaptedPredictor(reader.settings.replace(label_scale=2), reader.adaptation)
    torch.testing.assert_close(scaled.maps(images)["confidence"], confidence)
    assert not torch.allclose(reader.maps(images)["confidence"], confidence)


def slow_features(reader: AdaptedPredictor, image: np.ndarray) -> tuple[Tensor, Tensor]:
    """Metric features (P, D) and classes (P,) of one image, pixel by pixel as the paper has it."""
    teacher, metric = reader.adaptation.teacher, reader.adaptation.metric
    assert metric
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        teacher.eval()
        small = metric.network.eval()(teacher.extract(pixels))
        classes = teacher(pixels).argmax(1).flatten()
    large = F.interpolate(small, image.shape[:2], mode="bilinear", align_corners=False)
    rows = [large[0, :, y, x] for y in range(image.shape[0]) for x in range(image.shape[1])]
    return F.normalize(torch.stack(rows).double(), dim=1), classes


@pytest.mark.slow
def test_table_seven_equals_scikit_learn_over_every_pixel_of_every_image(
    reader: AdaptedPredictor,
) -> None:
    held = Held()
    found = metric_silhouette(reader, held, 19, CPU)
    assert found
    parts = [slow_features(reader, held.image(i)) for i in range(2)]
    features = torch.cat([part[0] for part in parts]).numpy()
    predicted = torch.cat([part[1] for part in parts]).numpy()
    truth = held.ids.ravel()
    for name, labels, rows in (
        ("truth", truth, truth != 255),
        ("prediction", predicted, np.ones(len(truth), bool)),
    ):
        values = silhouette_samples(features[rows], labels[rows], metric="sqeuclidean")
        assert len(np.unique(labels[rows])) > 2
        # Trials read features in float32.
        assert found[name]["overall_mean"] == pytest.approx(values.mean(), abs=1e-5)
        classes = [values[labels[rows] == c].mean() for c in np.unique(labels[rows])]
        assert found[name]["class_mean"] == pytest.approx(np.mean(classes), abs=1e-5)


def test_the_score_without_labels_is_the_silhouette_of_its_own_classes(
    reader: AdaptedPredictor,
) -> None:
    held = Held()
    whole = metric_silhouette(reader, held, 19, CPU)
    pixels = load_even_subset(held, 2, CPU)
    assert whole
    expected = whole["prediction"]["overall_mean"]
    assert unlabelled_silhouette(reader, pixels, 19) == pytest.approx(expected, abs=1e-9)


def test_the_measured_labels_are_those_that_the_student_trains_on(
    reader: AdaptedPredictor,
) -> None:
    pixels = as_input([Held().image(0), Held().image(1)], CPU)
    changed = reader.settings.replace(label_views="mirrored", label_scale=1.5)
    found = AdaptedPredictor(changed, reader.adaptation).maps(pixels)
    with torch.no_grad():
        teacher = reader.adaptation.teacher.eval()
        large = F.interpolate(pixels, (36, 48), mode="bilinear")
        views = [teacher.logits(large), teacher.logits(large.flip(3)).flip(3)]
        mean = sum(F.interpolate(v, (24, 32), mode="bilinear").softmax(1) for v in views) / 2
    assert torch.equal(found["labels"], mean.argmax(1))
    torch.testing.assert_close(found["confidence"], mean.amax(1))
    assert not torch.equal(found["confidence"], reader.maps(pixels)["confidence"])


@pytest.mark.slow
def test_a_student_that_labels_for_itself_has_no_agreement(cache: Path) -> None:
    held = Held()
    off = {"aug": False, "mt": False, "mgs": False, "mocm": False}
    pixels = load_even_subset(held, 2, CPU)
    for labeller in ("student", "source"):
        found = adapted(cache, labeller=labeller, lr=0.02, **off)
        measured = measure_adaptation(found, held, pixels, 19, CPU)
        settings = tiny(source_iterations=150)
        source = load_source(settings, ensure_source(settings, cache, CPU), CPU)
        with torch.no_grad():
            student = found.adaptation.student.eval()(pixels).argmax(1)
            share = float((student == source.eval()(pixels).argmax(1)).double().mean())
        assert 0 < share < 1
        expected = None if labeller == "student" else pytest.approx(share, abs=1e-9)
        assert measured["scores"]["agreement"] == expected
        assert measured["silhouette"] is None and measured["scores"]["silhouette"] is None
