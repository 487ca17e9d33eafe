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


def test_a_silhouette_of_other_numbers_is_the_same_and_wrong_input_is_refused() -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(60, 5), torch.randint(0, 4, (60,))
    labels[:5] = 255
    found = stvm.silhouette_score(features, labels)
    assert stvm.silhouette_score(features, labels.to(torch.uint8)) == found
    assert stvm.silhouette_score(features, labels.int()) == found
    with pytest.raises(stvm.StvmError, match="two classes"):
        stvm.silhouette_score(features, torch.full((60,), 255))
    with pytest.raises(stvm.StvmError, match=r"\(P, D\)"):
        stvm.silhouette_score(torch.randn(2, 5, 4, 4), labels[:32].view(2, 4, 4))
    with pytest.raises(stvm.StvmError, match="one label for each"):
        stvm.silhouette_score(features, labels[:-1])


def test_predictions_of_no_class_are_refused_and_not_counted_as_another() -> None:
    labels = torch.tensor([0, 1, 255])
    for wrong in (3, 255, -1):
        with pytest.raises(ValueError, match="a prediction is not a class below 3"):
            stvm.confusion_matrix(labels, torch.tensor([wrong, 1, 1]), 3)
    for wrong in (300, -1, 3):
        with pytest.raises(ValueError, match="neither below 3 nor 255"):
            stvm.confusion_matrix(torch.tensor([wrong, 1, 1]), torch.tensor([0, 1, 1]), 3)
    with pytest.raises(stvm.StvmError, match="one predicted class for each label"):
        stvm.confusion_matrix(labels, torch.rand(4, 3), 3)
