"""Silhouette and mIoU as the library gives them, against scikit-learn."""

import pytest
import torch
from sklearn.metrics import jaccard_score
from sklearn.metrics import silhouette_score as sklearn_silhouette
from torch.nn import functional as F

import stvm


@pytest.mark.parametrize("normalise", [True, False])
def test_the_silhouette_is_that_of_scikit_learn(normalise: bool) -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(60, 5), torch.randint(0, 4, (60,))
    labels[:5] = 255
    points = F.normalize(features, dim=1) if normalise else features
    known = labels != 255
    expected = sklearn_silhouette(points[known].numpy(), labels[known], metric="sqeuclidean")
    found = stvm.silhouette_score(features, labels, normalise=normalise)
    assert found == pytest.approx(expected, abs=1e-6)
    by_class = stvm.silhouette_score(features, labels, normalise=normalise, average="classes")
    assert by_class != pytest.approx(found, abs=1e-6)
    with pytest.raises(stvm.StvmError, match="two classes"):
        stvm.silhouette_score(features, torch.zeros(60).long())


def test_miou_is_the_macro_jaccard_score_of_scikit_learn() -> None:
    torch.manual_seed(0)
    labels, predicted = torch.randint(0, 4, (2, 9, 9)), torch.randint(0, 4, (2, 9, 9))
    expected = jaccard_score(labels.flatten(), predicted.flatten(), average="macro")
    confusion = stvm.confusion_matrix(labels, predicted, 4)
    assert stvm.miou(confusion) == pytest.approx(expected, abs=1e-9)
