"""LD and LDBE: class and image masks, the negative label, mixed images."""

import copy
import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stvm.objectives.confidence_histogram import WIDTH, ConfidenceHistogram
from stvm.objectives.label_store import LabelStore
from stvm.objectives.ld import HIGHEST, class_bounds, joined_labels, negative_loss, ranks_of
from stvm.objectives.ldbe import decay_of, half_of_classes, mix, mixed_loss
from tests.objectives.test_offline_labels import IMAGES, SIZE
from tests.objectives.test_offline_steps import batch_at, built, entropies, pixels, start_network


def test_the_negative_loss_of_equal_shares() -> None:
    for rank in (6, 9, 12):
        assert negative_loss(torch.zeros(1, 19, 2, 2), rank).item() == pytest.approx(
            0.054067, abs=1e-6
        )


def test_the_negative_loss_takes_the_share_at_its_rank() -> None:
    logits = torch.randn(2, 7, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    total = 0.0
    for pixel in logits.permute(0, 2, 3, 1).reshape(-1, 7).tolist():
        p = sorted((math.exp(v) / sum(map(math.exp, pixel)) for v in pixel), reverse=True)
        total -= math.log(1 - p[2])
    assert negative_loss(logits, 3).item() == pytest.approx(total / 18)
    sure = torch.zeros(1, 7, 1, 1)
    sure[0, 0] = 100
    assert negative_loss(sure, 1).item() == pytest.approx(-math.log(1e-5), rel=1e-5)


def test_ranks_are_those_of_the_release() -> None:
    assert ranks_of(19) == (6, 12) and ranks_of(13) == (3, 9)
    assert all(2 <= first <= last <= c for c in range(2, 30) for first, last in [ranks_of(c)])


def test_class_bounds_are_ranks_and_the_least_value_of_rare_classes() -> None:
    histogram = ConfidenceHistogram(4)
    values = torch.linspace(0.5, 0.95, 10)
    histogram.add(
        torch.cat([values, values[:3], torch.ones(20)]), torch.tensor([0] * 10 + [1] * 3 + [3] * 20)
    )
    bounds = class_bounds(histogram, 0.2)
    assert bounds[0] == pytest.approx(0.9, abs=WIDTH * 0.2) and bounds[0] <= 0.9
    assert bounds[1] == pytest.approx(0.5, abs=WIDTH)
    assert bounds[2] == HIGHEST and bounds[3] == HIGHEST


def test_a_pixel_is_labelled_by_its_class_or_by_its_image() -> None:
    shares = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.65, 0.35], [0.6, 0.4], [0.2, 0.8]])
    shares = shares.T[None, :, None]
    bounds = np.array([0.95, 0.45])
    # The second pixel is above the bound of class 1, and the third one of no class. Of five pixels
    # the share 0.4 is two; strictly above the second one, .8, is only .9.
    labels = joined_labels(shares, bounds, 0.4)
    assert labels[0, 0, 0] == 0 and labels[0, 0, 4] == 1
    assert labels[0, 0, 2] == 255 and labels[0, 0, 3] == 255
    assert labels[0, 0, 1] != 255
    assert joined_labels(shares, np.array([0.95, 0.95]), 0.4).tolist() == [
        [[0, 255, 255, 255, 255]]
    ]


def test_a_share_of_one_passes_the_highest_bound() -> None:
    shares = torch.tensor([[1.0, 0.0], [1 - 2.0**-24, 2.0**-24]]).T[None, :, None]
    assert joined_labels(shares, np.full(2, HIGHEST), 0.5).tolist() == [[[0, 255]]]


def test_the_moving_average_starts_at_the_student() -> None:
    assert [decay_of(step, 0.99) for step in (0, 1, 3, 99, 500)] == [0, 0.5, 0.75, 0.99, 0.99]


def test_half_of_the_classes_is_pasted_onto_the_next_image() -> None:
    labels = torch.tensor([[0, 0, 1], [2, 2, 5]])
    seen = set()
    for order in itertools.permutations(range(6)):
        mask = half_of_classes(labels, list(order))
        chosen = {int(v) for v in labels[mask]}
        first = [c for c in order if c in (0, 1, 2, 5)][:2]
        assert chosen == set(first) and all(bool(mask[labels == c].all()) for c in chosen)
        seen.add(frozenset(chosen))
    assert len(seen) == 6
    masks = torch.tensor([[[True, False]], [[False, False]], [[True, True]]])
    values = torch.tensor([[[1, 2]], [[3, 4]], [[5, 6]]])
    assert mix(masks, values).tolist() == [[[1, 4]], [[5, 6]], [[5, 6]]]


def test_the_mixed_loss_weighs_images_and_drops_losses_of_zero() -> None:
    logits = torch.randn(2, 3, 1, 4, generator=torch.Generator().manual_seed(1)).double()
    logits[0, :, 0, 0] = torch.tensor([1000.0, 0, 0])
    labels = torch.tensor([[[0, 1, 2, 0]], [[2, 2, 1, 0]]])
    confidence = torch.tensor([[[1.0, 0.98, 0.5, 0.97]], [[0.1, 0.2, 1.0, 0.3]]]).double()
    total, count = 0.0, 0
    for n, weight in enumerate((0.75, 0.25)):
        for x in range(4):
            p = logits[n, :, 0, x].softmax(0)
            loss = -math.log(p[labels[n, 0, x]])
            if loss > 0:
                total, count = total + weight * loss, count + 1
    assert count == 7
    assert mixed_loss(logits, labels, confidence, 0.97).item() == pytest.approx(total / 7)


def drawn_ranks(count: int, classes: int = 19, **changes: Any) -> list[int]:
    objective: Any = built("ld", **changes).objective
    objective.given = replace(objective.given, num_classes=classes)
    return [objective.drawn_rank(iteration) for iteration in range(1, count + 1)]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [(2, {2}), (5, {2}), (10, {2, 3, 4, 5, 6, 7, 8}), (19, {*range(6, 13)})],
)
def test_a_rank_is_near_half_of_the_classes_and_never_the_likeliest(
    classes: int, expected: set[int]
) -> None:
    """floor(C / 2) with up to 3 more or less, as many as there are on both sides."""
    ranks = drawn_ranks(200, classes)
    assert set(ranks) == expected
    scores = torch.randn(1, classes, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    for rank in expected:
        shares = scores.softmax(1).sort(dim=1, descending=True).values[:, rank - 1]
        loss = sum(-math.log(1 - share) for share in shares.flatten().tolist()) / 4
        assert negative_loss(scores, rank).item() == pytest.approx(loss)


def test_every_rank_is_drawn_and_each_seed_draws_its_own() -> None:
    ranks = drawn_ranks(300)
    assert set(ranks) == {6, 7, 8, 9, 10, 11, 12}
    assert ranks[:20] == drawn_ranks(20) != drawn_ranks(20, seed=1)


def test_entropy_and_negative_label_have_weights_of_their_own() -> None:
    batch = batch_at(1)
    assert batch.labels is not None
    weights = ((0, 0), (2, 0), (0, 3))
    own, *more = [
        built("ld", ld_entropy=e, ld_negative=n).step(batch, 1).loss.item() for e, n in weights
    ]
    found = pixels(start_network().train()(batch.images).detach(), batch.labels)
    second = [math.log(1 - float(p.sort(descending=True).values[1])) for p, _ in found]
    nats = entropies(found, lambda y: True).item()
    assert more[0] - own == pytest.approx(2 * nats, rel=1e-4)
    assert more[1] - own == pytest.approx(-3 * sum(second) / len(second), rel=1e-4)


def test_only_rounds_after_those_of_ld_mix_and_the_average_starts_at_the_first(
    tmp_path: Path,
) -> None:
    made = built("ldbe", ldbe_rounds=2)
    objective: Any = made.objective
    start, mixes = copy.deepcopy(objective.average.state_dict()), []
    for number in (1, 2, 3):
        for weight in made.student.parameters():
            weight.data += 0.01
        objective.begin_round(number, IMAGES, LabelStore(tmp_path / str(number), 5, SIZE, "me"))
        mixes.append(objective.mixes)
        first = made.student.state_dict() if number == 3 else start
        for name, value in objective.average.state_dict().items():
            assert torch.equal(value, first[name]), (number, name)
    assert mixes == [False, False, True]


def test_round_and_steps_of_the_moving_average_are_in_the_state() -> None:
    made, other = (built("ldbe") for _ in range(2))
    first: Any = made.objective
    first.number = 3
    made.step(batch_at(1), 1)
    made.step(batch_at(2), 2)
    other.load_state_dict(copy.deepcopy(made.state_dict()))
    again: Any = other.objective
    assert again.mixes and again.steps == 2
    losses = [one.step(batch_at(3), 3).loss.item() for one in (made, other)]
    assert losses[0] == losses[1]
    for name, value in first.average.state_dict().items():
        assert torch.equal(value, again.average.state_dict()[name]), name


def test_a_confidence_equal_to_the_least_one_counts() -> None:
    logits, labels = torch.zeros(1, 2, 1, 2), torch.zeros(1, 1, 2, dtype=torch.long)
    loss = mixed_loss(logits, labels, torch.tensor([[[0.75, 0.5]]]), 0.75)
    assert loss.item() == pytest.approx(math.log(2) / 2)
