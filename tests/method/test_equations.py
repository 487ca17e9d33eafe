"""Equations 1 to 5 against slow twins written from the paper."""

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import ProxyNCALoss
from torch.nn import functional as F

from stvm.method.distance import distance_to_predicted, normalized_squared_distance, sample_bilinear
from stvm.method.losses import weighted_cross_entropy
from stvm.method.proxy_loss import balanced_sample, proxy_nca_loss
from stvm.method.reliability import reliability
from stvm.method.thresholds import ClassThresholds, most_confident


def test_thresholds_follow_a_loop_over_frames_and_classes():
    torch.manual_seed(0)
    thresholds = ClassThresholds(4)
    slow = [math.nan] * 4
    for present in ((0, 1), (1, 2), (0, 2)):
        labels = torch.tensor(present)[torch.randint(0, 2, (2, 6, 7))]
        confidence = torch.rand(2, 6, 7)
        thresholds.update(confidence, labels)
        for frame in range(2):
            for c in range(4):
                values = confidence[frame][labels[frame] == c].numpy()
                if len(values):
                    now = float(np.quantile(values, 0.8))
                    slow[c] = now if math.isnan(slow[c]) else 0.9 * slow[c] + 0.1 * now
    np.testing.assert_allclose(thresholds.values.numpy(), slow, rtol=1e-5)
    assert math.isnan(slow[3])


def test_metric_pseudo_labels_are_the_pixels_above_their_classs_threshold():
    torch.manual_seed(0)
    thresholds = ClassThresholds(3, q_m=0.25, momentum=0.0)
    confidence, labels = torch.rand(1, 20, 20), torch.randint(0, 2, (1, 20, 20))
    thresholds.update(confidence, labels)
    mask = thresholds.select(confidence, labels)
    for y in range(20):
        for x in range(20):
            above = float(confidence[0, y, x]) > float(thresholds.values[labels[0, y, x]])
            assert bool(mask[0, y, x]) == above
    for c in (0, 1):
        kept, left = confidence[mask & (labels == c)], confidence[~mask & (labels == c)]
        assert kept.min() > left.max()
        assert abs(len(kept) / (len(kept) + len(left)) - 0.25) < 0.01


@pytest.mark.parametrize("by", ["class", "image"])
def test_the_most_confident_share_is_that_of_a_sorted_list(by):
    torch.manual_seed(1)
    confidence, labels = torch.rand(3, 20, 30), torch.randint(0, 4, (3, 20, 30))
    mask = most_confident(confidence, labels, 6, 0.3, by)
    for n in range(3):
        for c in range(4) if by == "class" else [None]:
            pixels = labels[n] == c if c is not None else torch.ones(20, 30, dtype=torch.bool)
            ranked = sorted(confidence[n][pixels].tolist(), reverse=True)
            kept = confidence[n][pixels & mask[n]].tolist()
            assert sorted(kept, reverse=True) == ranked[: len(kept)]
            assert abs(len(kept) - 0.3 * len(ranked)) <= 1
    assert most_confident(confidence, labels, 6, 1.0, by).all()


def test_sampled_pixels_are_those_of_the_enlarged_map():
    torch.manual_seed(0)
    for small, size in (((4, 6), (16, 24)), ((3, 5), (10, 13)), ((5, 5), (5, 5))):
        maps = torch.randn(2, 7, *small).double()
        index = tuple(torch.randint(0, n, (50,)) for n in (2, *size))
        full = F.interpolate(maps, size, mode="bilinear", align_corners=False)
        expected = torch.stack([full[n, :, y, x] for n, y, x in zip(*index, strict=True)])
        torch.testing.assert_close(sample_bilinear(maps, size, index), expected)


def test_proxy_nca_equals_its_equation_and_the_library():
    torch.manual_seed(0)
    features, proxies = torch.randn(12, 5).double(), torch.randn(3, 5).double()
    labels, temperature = torch.arange(12) % 3, 0.25
    slow = 0.0
    for f, y in zip(features, labels, strict=True):
        d = [float(((f / f.norm() - p / p.norm()) ** 2).sum()) for p in proxies]
        e = [math.exp(-x / temperature) for x in d]
        slow -= math.log(e[y] / sum(e)) / 12
    loss = proxy_nca_loss(features, labels, proxies, temperature)
    assert math.isclose(float(loss), slow, rel_tol=1e-9)
    library = ProxyNCALoss(3, 5, softmax_scale=1 / temperature).double()
    library.proxies.data = proxies
    torch.testing.assert_close(library(features, labels), loss)


def test_distance_equals_that_of_enlarged_features():
    torch.manual_seed(0)
    for small, size in (((4, 6), (16, 24)), ((3, 5), (10, 13)), ((1, 1), (4, 4)), ((5, 5), (5, 5))):
        embeddings = torch.randn(2, 7, *small).double()
        proxies = torch.randn(4, 7).double()
        labels = torch.randint(0, 4, (2, *size))
        full = F.interpolate(embeddings, size, mode="bilinear", align_corners=False)
        flat = full.permute(0, 2, 3, 1).reshape(-1, 7)
        slow = ((F.normalize(flat)[:, None] - F.normalize(proxies)) ** 2).sum(2)
        torch.testing.assert_close(normalized_squared_distance(flat, proxies), slow)
        own = slow.gather(1, labels.reshape(-1, 1)).reshape(labels.shape)
        torch.testing.assert_close(distance_to_predicted(embeddings, proxies, labels), own)


def test_reliability_and_weighted_loss_equal_their_equations():
    torch.manual_seed(0)
    d = torch.rand(2, 3, 4).double() * 4
    w = reliability(d, 2.0, 0.6)
    slow_w = [1 / (1 + math.exp(-2.0 * (0.6 - float(x)))) for x in d.flatten()]
    np.testing.assert_allclose(w.flatten().numpy(), slow_w)
    logits, labels = torch.randn(2, 5, 3, 4).double(), torch.randint(0, 5, (2, 3, 4))
    slow = 0.0
    for n in range(2):
        for y in range(3):
            for x in range(4):
                p = torch.softmax(logits[n, :, y, x], 0)[labels[n, y, x]]
                slow -= math.log(float(p)) * float(w[n, y, x]) / 12 / 2
    assert math.isclose(float(weighted_cross_entropy(logits, labels, w)), slow, rel_tol=1e-9)
    by_weights = float(weighted_cross_entropy(logits, labels, w, "weights"))
    assert math.isclose(by_weights, slow * 24 / float(w.sum()), rel_tol=1e-9)


def test_ones_as_weights_are_plain_cross_entropy_to_the_bit():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 8, 8), torch.randint(0, 5, (2, 8, 8))
    ours = weighted_cross_entropy(logits, labels, torch.ones(2, 8, 8))
    assert torch.equal(ours, F.cross_entropy(logits, labels, reduction="none").mean())


def test_balanced_sample_takes_the_same_number_of_each_class():
    torch.manual_seed(0)
    labels = torch.tensor([0] * 9 + [1] * 3 + [2] * 4).view(1, 4, 4)
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    for balance, each in (("rarest", 3), ("repeat", 64)):
        pixels = balanced_sample(mask, labels, 4, 64, balance, torch.Generator().manual_seed(0))
        assert torch.bincount(labels[pixels], minlength=4).tolist() == [each, each, each, 0]
