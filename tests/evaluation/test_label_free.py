"""Scores without labels against slow twins, and the collapse watch."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from stvm.evaluation.collapse import CollapseMonitor, effective_classes, has_collapsed
from stvm.evaluation.label_free import (
    label_free_scores,
    load_even_subset,
    predict,
    soft_neighbourhood_density,
)
from stvm.networks import build_network
from stvm.records.record import Record
from stvm.records.selection_scores import SELECTION_SCORES, find_selection_score

PIXELS = torch.rand(5, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network("small_deeplab", 16, 7)


def test_entropy_and_information_equal_scipys_over_all_pixels() -> None:
    net = network().eval()
    with torch.no_grad():
        shares = net(PIXELS).double().softmax(1).permute(0, 2, 3, 1).reshape(-1, 7).numpy()
    scores = label_free_scores(net, PIXELS, None)
    mean = entropy(shares, axis=1).mean()
    assert scores["entropy"] == pytest.approx(mean, rel=1e-5)
    expected = entropy(shares.mean(0)) - mean
    assert scores["information_maximisation"] == pytest.approx(expected, rel=1e-3)
    assert scores["agreement"] is None


def test_neighbourhood_density_equals_a_loop_over_points() -> None:
    shares = torch.rand(40, 6, dtype=torch.float64).softmax(1)
    entropies = []
    for i, p in enumerate(shares):
        similar = [
            math.exp(float(p @ q) / float(p.norm() * q.norm()) / 0.05)
            for j, q in enumerate(shares)
            if j != i
        ]
        entropies.append(entropy(similar))
    assert float(soft_neighbourhood_density(shares)) == pytest.approx(np.mean(entropies), rel=1e-9)


def test_agreement_is_the_share_of_equal_classes() -> None:
    net = network().eval()
    own = predict(net, PIXELS).classes
    flipped = own.clone()
    flipped[:, :8] = (flipped[:, :8] + 1) % 7
    parts = iter(flipped.split(8))
    scores = label_free_scores(net, PIXELS, lambda batch: next(parts))
    assert scores["agreement"] == pytest.approx(1 - 8 / 32)


def test_scoring_leaves_modes_buffers_and_random_draws_alone() -> None:
    net = network().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    label_free_scores(net, PIXELS, None)
    CollapseMonitor(net, PIXELS).measure(0)
    assert net.training and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_network_that_ends_with_one_class_has_collapsed() -> None:
    net = network()
    watch = CollapseMonitor(net, PIXELS)
    start = {"iteration": 0, "shares": [0.25] * 4 + [0.0] * 3}
    with torch.no_grad():
        for branch in net.classifier.branches:
            branch.bias[3] += 100.0
    seen = watch.measure(10)
    assert seen["shares"] == [0.0] * 3 + [1.0] + [0.0] * 3
    assert effective_classes([0.25] * 4) == pytest.approx(4)
    assert has_collapsed([start, seen]) and not has_collapsed([start, start])


def test_the_same_images_are_taken_each_time() -> None:
    class Ten:
        def __len__(self) -> int:
            return 10

        def image(self, index: int) -> np.ndarray:
            return np.full((2, 2, 3), index, np.uint8)

    taken = load_even_subset(Ten(), 4, torch.device("cpu"))
    assert (taken[:, 0, 0, 0] * 255).round().tolist() == [0, 3, 6, 9]


def test_only_miou_is_an_oracle_and_a_wrong_name_gets_the_nearest() -> None:
    assert [o.name for o in SELECTION_SCORES.values() if o.oracle] == ["miou"]
    result = {"miou": 0.5, "scores": {"entropy": 0.1, "silhouette": None}}
    whole = {"hash": "0" * 12, "status": "done", "settings": {}, "result": result}
    record, old = (Record.from_dict(whole | {"result": r}) for r in (result, {"miou": 0.5}))
    assert find_selection_score("miou").value(record) == 0.5
    assert find_selection_score("entropy").value(record) == 0.1
    assert find_selection_score("silhouette").value(record) is None
    assert find_selection_score("agreement").value(old) is None
    with pytest.raises(Exception, match="did you mean 'entropy'"):
        find_selection_score("entrpy")
