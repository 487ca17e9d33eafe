"""The silhouette of linear time against scikit-learn, which compares all pairs."""

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_samples
from torch import Tensor
from torch.nn import functional as F

from stvm.evaluation.silhouette_score import ClusterSums, silhouettes

CPU = torch.device("cpu")


def points(count: int, num_classes: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (count,), generator=generator)
    centres = torch.randn(num_classes, 16, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, 16, generator=generator, dtype=torch.float64)
    return F.normalize(centres[labels] + 1.5 * noise, dim=1), labels


@pytest.mark.parametrize("seed", range(5))
def test_every_point_equals_scikit_learn(seed: int) -> None:
    features, labels = points(800, 7, seed)
    sums = ClusterSums(9, 16, CPU)
    for part in torch.arange(800).split(123):
        sums.add(features[part], labels[part])
    expected = silhouette_samples(features.numpy(), labels.numpy(), metric="sqeuclidean")
    found = sums.silhouette(features, labels).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9, rtol=0)
    assert np.ptp(found) > 0.3


def test_the_only_member_of_a_class_scores_zero_as_in_scikit_learn() -> None:
    features, labels = points(50, 3, 0)
    labels[0] = 5
    sums = ClusterSums(6, 16, CPU)
    sums.add(features, labels)
    expected = silhouette_samples(features.numpy(), labels.numpy(), metric="sqeuclidean")
    found = sums.silhouette(features, labels).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9, rtol=0)
    assert found[0] == 0


def test_means_are_over_points_and_over_classes_and_ignored_points_are_left_out() -> None:
    features, labels = points(600, 4, 1)
    known = torch.rand(600, generator=torch.Generator().manual_seed(1)) < 0.7
    truth = torch.where(known, labels, 255)

    def batches() -> list[tuple[Tensor, dict[str, Tensor]]]:
        return [
            (features[part], {"truth": truth[part], "prediction": labels[part]})
            for part in torch.arange(600).split(77)
        ]

    found = silhouettes(batches, 5, 16, CPU)
    for name, rows in (("truth", known.numpy()), ("prediction", np.ones(600, bool))):
        x, y = features.numpy()[rows], labels.numpy()[rows]
        expected = silhouette_samples(x, y, metric="sqeuclidean")
        by_class = [expected[y == c].mean() for c in range(4)]
        summary = found[name]
        assert summary is not None
        assert summary["class"][4] is None
        np.testing.assert_allclose(summary["class"][:4], by_class, atol=1e-9)
        assert summary["class_mean"] == pytest.approx(np.mean(by_class), abs=1e-9)
        assert summary["overall_mean"] == pytest.approx(expected.mean(), abs=1e-9)


def test_sums_are_added_up_by_batch_as_those_of_recorded_trials_were() -> None:
    """To the bit: first within a batch, then over the batches."""
    features, labels = points(2000, 4, 2)
    parts = [(features[rows], labels[rows]) for rows in torch.arange(2000).split(77)]
    sums = ClusterSums(4, 16, CPU)
    for x, own in parts:
        sums.add(x, own)
    total = np.zeros(4)
    for x, own in parts:
        total += np.bincount(own.numpy(), sums.silhouette(x, own).numpy(), 4)
    found = silhouettes(lambda: [(x, {"truth": own}) for x, own in parts], 4, 16, CPU)["truth"]
    assert found is not None
    assert found["class"] == (total / np.bincount(labels.numpy())).tolist()


def test_one_class_has_no_silhouette() -> None:
    features, _ = points(10, 2, 0)
    zeros = torch.zeros(10, dtype=torch.long)
    assert silhouettes(lambda: [(features, {"a": zeros})], 3, 16, CPU) == {"a": None}
