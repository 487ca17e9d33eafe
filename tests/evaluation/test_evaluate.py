"""mIoU and AUROC against scikit-learn; evaluation changes nothing."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import jaccard_score, roc_auc_score

from stvm.data.streets.street_images import LabelledArrays
from stvm.evaluation.evaluate import evaluate
from stvm.evaluation.label_quality import auroc, pseudo_label_auroc
from stvm.evaluation.miou import confusion_matrix, score
from stvm.networks import build_network


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (2, 20, 30), generator=generator)
    predictions = torch.randint(0, 5, (2, 20, 30), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
    return labels.to(torch.uint8), predictions


@pytest.mark.parametrize("seed", range(3))
def test_miou_equals_scikit_learns(seed: int) -> None:
    labels, predictions = drawn(seed)
    known = (labels != 255).numpy()
    y, p = labels.numpy()[known], predictions.numpy()[known]
    counts = confusion_matrix(labels, predictions, 5)
    np.testing.assert_array_equal(counts.numpy(), sklearn_confusion(y, p, labels=range(5)))
    found = score(counts)
    expected = jaccard_score(y, p, average=None)
    np.testing.assert_allclose(found.iou, expected, atol=1e-12)
    assert found.miou == pytest.approx(expected.mean(), abs=1e-12)
    assert found.pixel_accuracy == pytest.approx((y == p).mean(), abs=1e-12)


def test_a_label_of_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="neither below 3 nor 255"):
        confusion_matrix(torch.tensor([0, 3]), torch.tensor([0, 0]), 3)
    assert confusion_matrix(torch.tensor([255]), torch.tensor([0]), 3).sum() == 0


def test_a_class_that_never_occurs_is_no_zero() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    found = score(confusion_matrix(labels, torch.tensor([0, 0, 1, 0]), 3))
    assert found.iou[2] is None
    assert found.miou == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_auroc_equals_scikit_learns_with_ties() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 10, 500) / 10
    right = rng.random(500) < 0.3 + 0.5 * scores
    assert auroc(scores, right) == pytest.approx(roc_auc_score(right, scores), abs=1e-12)
    assert auroc(scores, np.ones(500, bool)) is None


def images() -> LabelledArrays:
    rng = np.random.default_rng(1)
    return LabelledArrays(
        rng.integers(0, 256, (11, 32, 32, 3), dtype=np.uint8),
        rng.integers(0, 4, (11, 32, 32), dtype=np.uint8),
    )


def test_evaluation_equals_one_image_at_a_time_and_leaves_the_network_as_it_was() -> None:
    torch.manual_seed(0)
    network = build_network("small_deeplab", 8, 4).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    data = images()
    found = evaluate(network, data, 4, torch.device("cpu"))
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    network.eval()
    total = np.zeros((4, 4))
    for i in range(len(data)):
        pixels = torch.from_numpy(data.image(i)).permute(2, 0, 1)[None].float() / 255
        predicted = network(pixels).argmax(1)[0].numpy()
        total += sklearn_confusion(data.label(i).ravel(), predicted.ravel(), labels=range(4))
    iou = np.diag(total) / (total.sum(0) + total.sum(1) - np.diag(total))
    np.testing.assert_allclose(found.iou, iou, atol=1e-12)


def test_judging_a_perfect_and_a_useless_score() -> None:
    data = images()
    asked = iter(range(100))

    def read(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = [next(asked) for _ in pixels]
        truth = torch.stack([torch.from_numpy(data.label(i)) for i in rows]).long()
        labels = torch.where(torch.rand(truth.shape) < 0.5, truth, (truth + 1) % 4)
        return {
            "labels": labels,
            "perfect": (labels == truth).float(),
            "useless": torch.zeros(truth.shape),
        }

    found = pseudo_label_auroc(read, data, torch.device("cpu"))
    assert found == {"perfect": 1.0, "useless": 0.5}
