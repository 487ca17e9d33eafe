"""What a trial reports, on what, and after which procedure: settings that no step shows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score, silhouette_samples
from torch import Tensor
from torch.nn import functional as F

from stvm.data.datasets import open_source, open_target_images, open_target_labelled
from stvm.data.images import LabelledImages
from stvm.evaluation.label_quality import pseudo_label_auroc
from stvm.networks import SegmentationNetwork
from stvm.settings import Settings
from stvm.source_model.ensure import ensure_source
from stvm.source_model.supervised import load_source
from stvm.training import adaptation, loop
from stvm.training.adaptation import adapt
from stvm.trial.measures import AdaptedPredictor
from stvm.trial.run import run_trial
from tests.helpers.tiny_settings import tiny

CPU = torch.device("cpu")
TRIAL: dict[str, Any] = {
    **{"height": 32, "width": 48, "source_iterations": 60, "channels": 8, "lr": 0.02},
    **{"eval_images": 3, "iterations": 3},
}
OFF = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)


def trial(**changes: Any) -> Settings:
    return tiny(**(TRIAL | changes))


def source_of(settings: Settings, cache: Path) -> SegmentationNetwork:
    return load_source(settings, ensure_source(settings, cache, CPU), CPU)


def miou(network: SegmentationNetwork, images: LabelledImages) -> float:
    """By scikit-learn, one image at a time; classes that no label holds are left out."""
    labels, classes = [], []
    for i in range(len(images)):
        pixels = torch.from_numpy(images.image(i)).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            classes.append(network.eval()(pixels).argmax(1)[0].numpy().ravel())
        labels.append(images.label(i).ravel())
    y, p = np.concatenate(labels), np.concatenate(classes)
    y, p = y[y != 255], p[y != 255]
    return float(jaccard_score(y, p, labels=np.unique(y), average="macro", zero_division=0))


@pytest.mark.parametrize(("evaluated", "split"), [("student", "val"), ("teacher", "test")])
def test_the_network_and_the_split_that_are_named_are_the_ones_reported(
    evaluated: str, split: str, cache: Path
) -> None:
    settings = trial(evaluated=evaluated, eval_split=split)
    outcome = run_trial(settings, cache, CPU)
    images = open_target_images(settings.data, cache)
    adaptation, _ = adapt(settings, source_of(settings, cache), images, 19)
    both = {"student": adaptation.student, "teacher": adaptation.teacher}
    for name, network in both.items():
        for each in ("val", "test"):
            found = miou(network, open_target_labelled(settings.data, each, cache))
            same = found == pytest.approx(outcome.result["miou"], abs=1e-9)
            assert same == ((name, each) == (evaluated, split)), (name, each)
    weights = outcome.network.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in both[evaluated].state_dict().items())


def test_a_metric_network_alongside_is_measured_as_scikit_learn_does(cache: Path) -> None:
    settings = trial(mgs=False, mocm=False, metric_alongside=True, target_images=2)
    result = run_trial(settings, cache, CPU).result
    images = open_target_images(settings.data, cache)
    adaptation, _ = adapt(settings, source_of(settings, cache), images, 19)
    assert adaptation.metric
    features, classes = [], []
    for i in range(len(images)):
        pixels = torch.from_numpy(images.image(i)).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            small = adaptation.metric.network(adaptation.teacher.extract(pixels))
            classes.append(adaptation.teacher(pixels).argmax(1).flatten())
        large = F.interpolate(small, pixels.shape[2:], mode="bilinear")[0]
        features.append(F.normalize(large.flatten(1).T.double(), dim=1))
    x, y = torch.cat(features).numpy(), torch.cat(classes).numpy()
    expected = silhouette_samples(x, y, metric="sqeuclidean").mean()
    assert result["scores"]["silhouette"] == pytest.approx(expected, abs=1e-4)


class FirstOf:
    """The first of some images."""

    def __init__(self, images: LabelledImages) -> None:
        self.image, self.label = images.image, images.label

    def __len__(self) -> int:
        return 1


def test_details_of_one_image_leave_miou_as_it_is(cache: Path) -> None:
    settings = trial(detail_images=1)
    result = run_trial(settings, cache, CPU).result
    whole = run_trial(settings.replace(detail_images=0), cache, CPU).result
    assert result["miou"] == whole["miou"] and result["scores"] == whole["scores"]
    adaptation, _ = adapt(
        settings, source_of(settings, cache), open_target_images(settings.data, cache), 19
    )
    test = open_target_labelled(settings.data, "test", cache)
    read = AdaptedPredictor(settings, adaptation).maps
    assert len(test) > 1
    assert result["auroc"] == pseudo_label_auroc(read, FirstOf(test), CPU)
    assert whole["auroc"] == pseudo_label_auroc(read, test, CPU) != result["auroc"]


def test_each_procedure_reports_its_own_network(cache: Path) -> None:
    found = {
        name: run_trial(trial(procedure=name, **OFF), cache, CPU)
        for name in ("adapt", "adabn", "oracle")
    }
    settings = trial(**OFF)
    source = source_of(settings, cache).state_dict()
    test = open_target_labelled(settings.data, "test", cache)
    for outcome in found.values():
        assert outcome.result["miou"] == pytest.approx(miou(outcome.network, test), abs=1e-9)
    moved = {
        name: {k for k, v in outcome.network.state_dict().items() if not torch.equal(v, source[k])}
        for name, outcome in found.items()
    }
    assert moved["adapt"] == set()
    assert moved["adabn"] and all("running" in k or "tracked" in k for k in moved["adabn"])
    assert {"features.0.weight", "classifier.branches.0.weight"} < moved["oracle"]
    held_out = open_source(settings.data, "val", cache)
    of_source = miou(found["adapt"].network, held_out)
    assert found["adapt"].result["source_val_miou"] == pytest.approx(of_source, abs=1e-9)


def test_images_are_loaded_by_as_many_processes_as_asked_for(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def batches(crops: Any, batch: int, workers: int, *rest: Any, **more: Any) -> Any:
        asked.append(workers)
        return iter([torch.stack([crops[k] for k in range(batch)])])

    settings = trial(workers=3)
    # Before the loader is replaced: the source model may have to be trained first.
    source = source_of(settings, cache)
    monkeypatch.setattr(loop, "batches", batches)
    images = open_target_images(settings.data, cache)
    adapt(settings, source, images, 19)
    assert asked == [3]


def test_two_seeds_draw_different_pixels_patches_and_crops(cache: Path) -> None:
    """A generator of a constant seed would repeat itself from trial to trial."""
    drawn: dict[int, list[Tensor]] = {}
    for seed in (0, 1):
        settings = trial(seed=seed)
        images = open_target_images(settings.data, cache)
        training = adaptation.Training(settings, source_of(settings, cache), images, 19)
        state = training.state_dict(0)["adaptation"]
        crops = adaptation.TargetCrops(images, (32, 32), seed, 4)
        generators = [state["metric"]["generator"], state["bank"]["generator"]]
        drawn[seed] = [*generators, torch.get_rng_state(), torch.stack([crops[0], crops[1]])]
    for first, second in zip(drawn[0], drawn[1], strict=True):
        assert not torch.equal(first, second)
    for states in drawn.values():
        pixels, patches, noise, _ = states
        assert (
            len({pixels.numpy().tobytes(), patches.numpy().tobytes(), noise.numpy().tobytes()}) == 3
        )
