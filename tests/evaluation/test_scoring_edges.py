"""Evaluation, silhouette and scores at their edges: few points, several passes, nothing."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, silhouette_samples
from torch import Tensor, nn

from stvm.data import batches
from stvm.data.images import OpenedLabelledImages
from stvm.data.labelling import Labelling
from stvm.data.streets.street_images import LabelledArrays
from stvm.errors import StvmError
from stvm.evaluation.collapse import CollapseMonitor, has_collapsed
from stvm.evaluation.evaluate import check_labels, evaluate, labelled_batches
from stvm.evaluation.label_free import (
    PredictionSummary,
    label_free_scores,
    load_even_subset,
    predict,
)
from stvm.evaluation.label_quality import auroc, pseudo_label_auroc
from stvm.evaluation.miou import score
from stvm.evaluation.silhouette_score import ClusterSums, silhouettes
from stvm.networks import build_network

CPU = torch.device("cpu")
IMAGES = torch.rand(5, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def labelled(count: int, image: tuple[int, int], label: tuple[int, int]) -> LabelledArrays:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, *image, 3), dtype=np.uint8)
    return LabelledArrays(pixels, rng.integers(0, 4, (count, *label), dtype=np.uint8))


def test_a_class_of_one_pixel_counts_and_no_pixel_at_all_has_no_figure() -> None:
    # Class 0: 2 right of 3; class 1: its only pixel is taken for 0; class 2 has none.
    found = score(torch.tensor([[2, 0, 0], [1, 0, 0], [0, 0, 0]]))
    assert found.iou == [pytest.approx(2 / 3), 0.0, None]
    assert (found.miou, found.pixel_accuracy) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    nothing = score(torch.zeros(3, 3, dtype=torch.long))
    assert math.isnan(nothing.miou) and math.isnan(nothing.pixel_accuracy)
    with pytest.raises(FrozenInstanceError):
        found.miou = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(("image", "label"), [((32, 64), (8, 16)), ((8, 16), (32, 64))])
def test_the_larger_of_image_and_label_says_how_many_go_into_a_pass(
    image: tuple[int, int], label: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "PIXELS", 2 * 32 * 64)
    data = labelled(5, image, label)
    assert [len(ids) for _, ids in labelled_batches(data, CPU)] == [2, 2, 1]
    assert [len(ids) for _, ids in labelled_batches(data, CPU, 3)] == [3, 2]


def opened(pixels: np.ndarray, ids: np.ndarray) -> OpenedLabelledImages:
    arrays = LabelledArrays(pixels, ids)
    return OpenedLabelledImages(arrays, arrays, Labelling(("road",)))


def test_labels_are_looked_for_until_one_pixel_is_found() -> None:
    pixels, ids = np.zeros((2, 4, 4, 3), np.uint8), np.full((2, 4, 4), 255, np.uint8)
    with pytest.raises(StvmError, match="all pixels of the target's split 'val' are labelled 255"):
        check_labels(opened(pixels, ids), "val")
    ids[1, 2, 3] = 0
    check_labels(opened(pixels, ids), "val")


def test_evaluation_keeps_no_graph_and_right_or_wrong_throughout_has_no_auroc() -> None:
    network, graphs = build_network("small_deeplab", 16, 4), []
    network.classifier.register_forward_hook(lambda *_: graphs.append(torch.is_grad_enabled()))
    evaluate(network, labelled(1, (32, 32), (32, 32)), 4, CPU)
    assert graphs == [False]
    for right in (np.ones(5, bool), np.zeros(5, bool)):
        assert auroc(np.arange(5.0), right) is None


@pytest.mark.parametrize("count", [1, 11])
def test_labels_are_judged_on_the_512_pixels_that_recorded_trials_were_judged_on(
    count: int,
) -> None:
    rng = np.random.default_rng(1)
    shape = (count, 30, 40)
    ids = rng.integers(0, 4, shape, dtype=np.uint8)
    classes = np.where(rng.random(shape) < 0.6, ids, 3)
    sure = rng.random(shape) + 0.5 * (classes == ids)
    ids[rng.random(shape) < 0.1] = 255
    data = LabelledArrays(np.zeros((*shape, 3), np.uint8), ids)
    weight, asked = torch.ones((), requires_grad=True), iter(range(count))

    def read(pixels: Tensor) -> dict[str, Tensor]:
        rows = [next(asked) for _ in pixels]
        return {
            "labels": torch.from_numpy(classes[rows]),
            "sure": torch.from_numpy(sure[rows]) * weight,
        }

    generator = torch.Generator().manual_seed(0)
    known, right, values = [], [], []
    for start in range(0, count, 8):
        drawn = torch.randperm(1200, generator=generator)[:512].numpy()
        for n in range(start, min(start + 8, count)):
            truth = ids[n].ravel()[drawn]
            known.append(truth != 255)
            right.append(classes[n].ravel()[drawn] == truth)
            values.append(sure[n].ravel()[drawn])
    chosen = np.concatenate(known)
    expected = roc_auc_score(np.concatenate(right)[chosen], np.concatenate(values)[chosen])
    assert pseudo_label_auroc(read, data, CPU) == {"sure": pytest.approx(expected, abs=1e-12)}


def sums_of(features: Tensor, labels: Tensor, classes: int) -> ClusterSums:
    made = ClusterSums(classes, features.shape[1], CPU)
    made.add(features, labels)
    return made


def test_clusters_of_one_and_two_members_near_each_other_are_scikit_learns() -> None:
    features = torch.tensor([[0.0], [0.1], [0.5], [0.6], [0.8], [0.3]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    expected = silhouette_samples(features.numpy(), labels.numpy(), metric="sqeuclidean")
    found = sums_of(features, labels, 4).silhouette(features, labels)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)
    assert found[5] == 0


def test_points_that_are_all_alike_or_of_one_class_score_zero() -> None:
    same = torch.ones(4, 3, dtype=torch.float64)
    for labels in (torch.tensor([0, 0, 1, 1]), torch.tensor([2, 2, 2, 2])):
        assert sums_of(same, labels, 3).silhouette(same, labels).tolist() == [0.0] * 4
    spread = torch.arange(4.0, dtype=torch.float64).view(4, 1)
    labels = torch.ones(4).long()
    assert sums_of(spread, labels, 3).silhouette(spread, labels).tolist() == [0.0] * 4


def test_two_classes_are_enough_for_a_silhouette_and_one_of_them_may_have_one_member() -> None:
    features = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    labels = torch.tensor([1, 1, 3])
    found = silhouettes(lambda: [(features, {"a": labels})], 5, 1, CPU)["a"]
    # Point 0: a = 1, b = 9; point 1: a = 1, b = 4; the third is alone.
    first, second = 8 / 9, 3 / 4
    assert found is not None
    assert found["class"] == [None, pytest.approx((first + second) / 2), None, 0.0, None]
    assert found["class_mean"] == pytest.approx((first + second) / 4)
    assert found["overall_mean"] == pytest.approx((first + second) / 3)


def test_scores_do_not_depend_on_the_number_of_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = build_network("small_deeplab", 16, 7).eval()
    flipped = predict(network, IMAGES).classes
    flipped[4] = (flipped[4] + 1) % 7
    whole = label_free_scores(network, IMAGES, lambda batch: flipped[: len(batch)])
    assert whole["agreement"] == pytest.approx(0.8)
    monkeypatch.setattr(batches, "PIXELS", 2 * 32 * 48)
    passes: list[int] = []
    network.register_forward_pre_hook(lambda _, args: passes.append(len(args[0])))
    parts = iter(flipped.split(2))
    again = label_free_scores(network, IMAGES, lambda batch: next(parts))
    assert passes == [2, 2, 1]
    assert again == {
        name: pytest.approx(value, rel=1e-5, abs=1e-6) for name, value in whole.items()
    }


def test_32_pixels_of_an_image_are_sampled_and_no_graph_is_kept() -> None:
    torch.manual_seed(0)
    network = build_network("small_deeplab", 16, 7).eval()
    found = predict(network, IMAGES)
    drawn = torch.randperm(32 * 48, generator=torch.Generator().manual_seed(0))[:32]
    with torch.no_grad():
        shares = network(IMAGES).softmax(1).permute(0, 2, 3, 1).reshape(5, -1, 7)[:, drawn]
    torch.testing.assert_close(found.sampled, shares.reshape(-1, 7))
    assert not any(t.requires_grad for t in vars(found).values())
    with pytest.raises(FrozenInstanceError):
        found.entropy = found.mean  # type: ignore[misc]
    assert isinstance(found, PredictionSummary)


class Pixels(nn.Module):
    """Its logits are the three colours, a hundred times as large."""

    def forward(self, images: Tensor) -> Tensor:
        return 100 * images


def test_the_watch_writes_five_digits_of_shares_and_six_of_entropies() -> None:
    each = torch.eye(3).view(1, 3, 1, 3)
    for images, entropy, information in (
        (each, 0.0, 1.098612),
        (torch.zeros(1, 3, 1, 3), 1.098612, 0.0),
    ):
        seen = CollapseMonitor(Pixels(), images).measure(4)  # type: ignore[arg-type]
        expected = [0.33333] * 3 if entropy == 0 else [1.0, 0.0, 0.0]
        assert seen["iteration"] == 4 and seen["shares"] == expected
        assert (seen["entropy"], seen["information"]) == (entropy, pytest.approx(information))


def test_only_the_first_and_the_last_look_say_whether_a_network_collapsed() -> None:
    wide, narrow = {"shares": [0.25] * 4}, {"shares": [1.0, 0.0, 0.0, 0.0]}
    assert has_collapsed([wide, wide, narrow]) and has_collapsed([wide, narrow, narrow])
    assert not has_collapsed([wide, narrow, wide]) and not has_collapsed([narrow, wide, wide])
    # Two classes of four are half, and not less.
    assert not has_collapsed([wide, {"shares": [0.5, 0.5, 0.0, 0.0]}])
    # 5 classes of 9 are more than half, 4 are less.
    nine = {"shares": [1 / 9] * 9}
    assert not has_collapsed([nine, {"shares": [0.2] * 5 + [0.0] * 4}])
    assert has_collapsed([nine, {"shares": [0.25] * 4 + [0.0] * 5}])


def test_more_images_than_there_are_give_all_of_them() -> None:
    assert len(load_even_subset(labelled(3, (2, 2), (2, 2)), 9, CPU)) == 3
