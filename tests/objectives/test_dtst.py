"""DT-ST: labels, scores and steps against values by hand and twins written from its description."""

import math
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.data.crops import TargetCrops
from stvm.errors import StvmError
from stvm.objectives.dtst import DynamicTeacher, class_bounds, kept_labels, moved_shares
from stvm.objectives.dynamic_teacher import StudentScores, neighbourhood_score
from stvm.objectives.objective import TargetBatch, TargetImages, WholeImages
from stvm.settings import Settings
from stvm.training.offline_passes import plan_rounds
from stvm.training.peer_builder import PeerAdaptation
from tests.objectives.test_offline_steps import C, Twin, assert_same, built, start_network

PUBLISHED = {"most": 0.8, "least": 0.2, "rare": 0.001}
CPU = torch.device("cpu")


def whole_batch_at(number: int, size: tuple[int, int] = (32, 32)) -> TargetBatch:
    """Crops of 32x32 pixels, and the images from which they are cut."""
    draws = torch.Generator().manual_seed(number)
    pixels = torch.randint(0, 256, (2, 3, *size), generator=draws).to(torch.uint8)
    places = ((2 * number, size[0] - 32, 0), (2 * number + 1, 0, size[1] - 32))
    whole = WholeImages(pixels, places)
    return TargetBatch(whole.cut(whole.images, (32, 32)), None, whole)


@pytest.mark.parametrize(
    ("chi", "bound"), [(0.01, 0.759966), (0.001, 0.480412), (0.0001, 0.2), (10.0, 0.76)]
)
def test_thresholds_by_hand(chi: float, bound: float) -> None:
    found = class_bounds(torch.tensor([[0.95]]), torch.tensor([chi]), **PUBLISHED)
    assert float(found) == pytest.approx(bound, abs=1e-6)


def test_class_shares_by_hand() -> None:
    """A class that is new takes its share; one that was seen moves by a tenth."""
    shares = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.9, 0.0]]).view(2, 3, 1, 1)
    found = moved_shares(torch.tensor([0.001, 0.2, 0.001]), shares, 0.001)
    torch.testing.assert_close(found, torch.tensor([0.3, 0.25, 0.0009]))


def test_a_class_below_a_hundred_millionth_counts_as_not_seen() -> None:
    shares = torch.tensor([5e-9, 2e-8, 1.0]).view(1, 3, 1, 1)
    found = moved_shares(torch.tensor([0.001, 0.001, 0.5]), shares, 0.001)
    torch.testing.assert_close(found, torch.tensor([9e-4, 2e-8, 0.55]), rtol=1e-5, atol=1e-12)


def labels_by_loop(shares: Tensor, chi: Tensor) -> Tensor:
    found = torch.full(shares[:, 0].shape, 255)
    for n, image in enumerate(shares):
        for c in range(shares.shape[1]):
            mine = image.argmax(0) == c
            if mine.any():
                top = image.amax(0)[mine].max()
                bound = max(0.2, float(0.8 * top * (1 - math.exp(-chi[c] / 0.001))))
                found[n][mine & (image.amax(0) > bound)] = c
    return found


def test_labels_are_those_of_a_loop() -> None:
    draws = torch.Generator().manual_seed(0)
    shares = (3 * torch.randn(2, C, 20, 20, generator=draws)).softmax(1)
    chi = torch.tensor([0.3, 0.002, 0.0008, 0.0003, 0.05])
    found = kept_labels(shares, chi, **PUBLISHED)
    assert torch.equal(found, labels_by_loop(shares, chi))
    kept = [
        float(((found == c) | (found == 255))[shares.argmax(1) == c].float().mean())
        for c in range(C)
    ]
    assert min(kept) == 1
    shares_kept = [float((found == c).sum() / (shares.argmax(1) == c).sum()) for c in range(C)]
    assert shares_kept[3] == 1 > shares_kept[2] > shares_kept[0] > 0


def test_a_label_at_the_very_threshold_is_left_out() -> None:
    shares = torch.tensor([[0.5, 0.25, 0.5], [0.25, 0.25, 0.25], [0.25, 0.5, 0.25]])[None, :, None]
    kept = kept_labels(shares, torch.tensor([1.0, 1.0, 1.0]), most=1.0, least=0.2, rare=0.001)
    assert kept.tolist() == [[[255, 255, 255]]]
    kept = kept_labels(shares, torch.tensor([1.0, 1.0, 1.0]), most=0.99, least=0.2, rare=0.001)
    assert kept.tolist() == [[[0, 2, 0]]]


@pytest.mark.parametrize(("rows", "alike"), [(100, 100), (50, 25)])
def test_scores_by_hand(rows: int, alike: int) -> None:
    """Each row is as near to itself as to its likes: 1e-5 stands within the logarithm."""
    shares = torch.eye(rows // alike).repeat_interleave(alike, 0)
    near = 1 / (alike + (rows - alike) * math.exp(-20))
    value = -alike * near * math.log(near + 1e-5)
    assert float(neighbourhood_score(shares)) == pytest.approx(value, abs=1e-5)
    assert value == pytest.approx(math.log(alike), abs=2e-3)


def score_by_loop(shares: Tensor) -> float:
    rows = [row / math.sqrt(float((row**2).sum())) for row in shares]
    total = 0.0
    for a in rows:
        near = [math.exp(float((a * b).sum()) / 0.05) for b in rows]
        total -= sum(x / sum(near) * math.log(x / sum(near) + 1e-5) for x in near)
    return total / len(rows)


def test_a_score_is_that_of_a_loop() -> None:
    shares = torch.rand(12, C, generator=torch.Generator().manual_seed(1)).softmax(1)
    assert float(neighbourhood_score(shares)) == pytest.approx(score_by_loop(shares), abs=1e-5)


@pytest.mark.parametrize(("better", "moved"), [(True, [9, 18, 27, 36]), (False, [33])])
def test_the_teacher_moves_when_the_student_got_better(better: bool, moved: list[int]) -> None:
    """From the ninth batch on, at every third; above thirty batches in any case."""
    scores = StudentScores(lambda x: x, 0, first=9, step=3, longest=30)
    calls = count()
    way = 1.0 if better else -1.0
    scores.score = lambda images, iteration: torch.tensor(way * next(calls))  # type: ignore[method-assign]
    whole = WholeImages(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), ((0, 0, 0), (1, 0, 0)))
    found = []
    for iteration in range(1, 40):
        scores.add(whole, iteration)
        if scores.moves(None):
            found.append(iteration)
            assert scores.seen == []
    assert found == moved


@pytest.mark.parametrize(("rises", "moves"), [(4, False), (5, False), (6, True)])
def test_more_than_half_of_the_scores_must_rise(rises: int, moves: bool) -> None:
    scores = StudentScores(lambda x: x, 0, first=10, step=1, longest=99)
    now = iter([1.0] * 10 + [2.0] * rises + [1.0] * (10 - rises))
    scores.score = lambda images, iteration: torch.tensor(next(now))  # type: ignore[method-assign]
    whole = WholeImages(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), ((0, 0, 0),))
    for iteration in range(10):
        scores.add(whole, iteration)
    assert scores.moves(None) == moves


def test_a_student_is_scored_at_the_same_positions_again() -> None:
    def scores_of(images: Tensor) -> Tensor:
        return 5 * images.mean(1, keepdim=True) * torch.arange(C).view(1, -1, 1, 1)

    scores = StudentScores(scores_of, 3, first=1, step=1, longest=1)
    batch = whole_batch_at(1)
    assert batch.whole
    scores.add(batch.whole, 1)
    (seen,) = scores.seen
    assert float(scores.score_again(seen, None)) == float(seen.score)
    assert float(scores.score(batch.whole.images, 2)) != float(seen.score)
    again = StudentScores(scores_of, 3, first=1, step=1, longest=1)
    again.load_state_dict(scores.state_dict())

    class Stored:
        def __len__(self) -> int:
            return 4

        def image(self, index: int) -> Any:
            return batch.whole.pixels[index - 2].permute(1, 2, 0).numpy()

    (kept,) = again.seen
    assert kept.pixels is None
    images = TargetImages(Stored(), CPU)
    assert float(again.score_again(kept, images)) == float(seen.score)


def dtst(**changes: Any) -> PeerAdaptation:
    return built("dtst", aug=False, **changes)


def enlarged(scores: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)


def pairs_against(logits: Tensor, shares: Tensor) -> Tensor:
    off = shares <= 1 / C
    return -(1 - logits[off].sigmoid()).log().mean()


@pytest.mark.parametrize("size", [(32, 32), (40, 48)])
def test_four_steps_are_those_of_the_twin(size: tuple[int, int]) -> None:
    """The teacher moves after the second step, at the latest after the third, and so on."""
    made, twin = dtst(dtst_first=2, dtst_step=1, dtst_longest=2, dtst_momentum=0.3), Twin("iast")
    teacher = start_network()
    chi = torch.full((C,), 0.001)
    seen: list[tuple[Tensor, int, float]] = []
    moves = 0

    def score(images: Tensor, iteration: int) -> float:
        twin.student.eval()
        with torch.no_grad():
            shares = twin.student.logits(images).softmax(1)
        twin.student.train()
        rows = [
            shares[n, :, y, x]
            for n in range(2)
            for y in range(shares.shape[2])
            for x in range(shares.shape[3])
        ]
        drawn = np.random.default_rng((0, 6, iteration)).permutation(len(rows))[:100]
        return score_by_loop(torch.stack([rows[k] for k in drawn]))

    for norm in (m for m in twin.student.modules() if isinstance(m, nn.BatchNorm2d)):
        assert not norm.training
    for iteration in (1, 2, 3, 4):
        batch = whole_batch_at(iteration, size)
        assert batch.whole
        modes = [m.training for m in twin.student.modules()]
        seen.append((batch.whole.images, iteration, score(batch.whole.images, iteration)))
        for module, mode in zip(twin.student.modules(), modes, strict=True):
            module.training = mode
        with torch.no_grad():
            of_teacher = enlarged(teacher.logits(batch.whole.images), size)
        mean = of_teacher.softmax(1).mean((0, 2, 3))
        chi = mean if iteration == 1 else 0.9 * chi + 0.1 * mean
        rows, columns = size[0] - 32, size[1] - 32
        cut = torch.stack([of_teacher[0, :, rows:, :32], of_teacher[1, :, :32, columns:]])
        shares = cut.softmax(1)
        labels = labels_by_loop(shares, chi)
        logits = enlarged(twin.student.logits(batch.images), (32, 32))
        losses = -logits.log_softmax(1).gather(1, (labels % 255)[:, None])[:, 0]
        loss = losses[labels != 255].sum() / labels.numel() + 0.5 * pairs_against(logits, shares)
        twin.step(loss)
        report = made.step(batch, iteration)
        assert report.loss.item() == pytest.approx(loss.item(), rel=1e-5)
        kept = float((labels != 255).float().mean())
        assert float(report.measured["kept"]) == pytest.approx(kept) and 0.05 < kept < 0.95
        before = moves
        if len(seen) >= 2:
            modes = [m.training for m in twin.student.modules()]
            rose = [score(images, k) > old for images, k, old in seen]
            for module, mode in zip(twin.student.modules(), modes, strict=True):
                module.training = mode
            if sum(rose) > len(seen) / 2 or len(seen) > 2:
                seen, moves = [], moves + 1
                for own, new in zip(teacher.parameters(), twin.student.parameters(), strict=True):
                    own.data = 0.7 * own.data + 0.3 * new.data
        objective: Any = made.objective
        assert len(objective.scores.seen) == len(seen)
        assert report.measured["teacher_moves"] == moves - before
    assert 0 < moves < 4
    assert_same(made, twin)
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(made.teacher.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_what_a_step_moves() -> None:
    made, first = dtst(dtst_first=2, dtst_longest=2), start_network().state_dict()
    norms = {n for n, m in made.student.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert made.labelling is made.teacher is made.reported("teacher") is not made.student
    for iteration in (1, 2):
        made.step(whole_batch_at(iteration), iteration)
        for name, value in made.student.state_dict().items():
            frozen = name.rpartition(".")[0] in norms
            assert torch.equal(value, first[name]) == frozen, name
        if iteration == 1:
            assert all(torch.equal(v, first[n]) for n, v in made.teacher.state_dict().items())


def test_the_teacher_moves_by_its_own_rule_alone() -> None:
    """The trainer's moving average would follow after each iteration."""
    made = dtst(dtst_first=3, dtst_step=99, dtst_longest=99)
    for iteration in (1, 2):
        made.update_teacher(iteration)
        made.step(whole_batch_at(iteration), iteration)
    assert all(
        torch.equal(v, start_network().state_dict()[n])
        for n, v in made.teacher.state_dict().items()
    )


def test_parts_of_a_batch_have_its_gradient() -> None:
    moved = []
    for parts in (1, 2):
        made = dtst(batch=2, accumulate=parts)
        made.step(whole_batch_at(1), 1)
        moved.append(made.student.state_dict())
    for name, value in moved[0].items():
        torch.testing.assert_close(moved[1][name], value, rtol=1e-4, atol=1e-6)


def test_pasted_pixels_have_the_label_of_the_bank() -> None:
    """Labels of the bank take the place of the teacher's; unlikely classes stay the teacher's."""
    made = dtst(weight_decay=0)
    objective: Any = made.objective
    patch = torch.zeros(2, 32, 32, dtype=torch.bool)
    patch[1, 4:20, 6:30] = True
    given: list[Any] = []

    class Bank:
        def paste(self, image: Tensor, chances: Any, draws: Any) -> tuple[Tensor, Tensor]:
            where = patch[len(given)]
            given.append((chances, draws.integers(1 << 30)))
            labels = torch.full((32, 32), 255).masked_fill(where, 3)
            return image.masked_fill(where, 0.5), labels

    objective.bank = Bank()
    batch = whole_batch_at(1)
    assert batch.whole
    with torch.no_grad():
        shares = start_network()(batch.images).softmax(1)
    labels = labels_by_loop(shares, shares.mean((0, 2, 3))).masked_fill(patch, 3)
    twin = start_network()
    logits = twin(batch.images.masked_fill(patch[:, None], 0.5))
    losses = F.cross_entropy(logits, labels, ignore_index=255, reduction="none").mean()
    loss = losses + 0.5 * pairs_against(logits, shares)
    report = made.step(batch, 1)
    assert report.loss.item() == pytest.approx(loss.item(), rel=1e-5)
    assert float(report.measured["pasted"]) == pytest.approx(16 * 24 / (2 * 32 * 32))
    # The chances are those before the batch, equal at first; the draws follow seed and iteration.
    np.testing.assert_allclose(given[0][0], 0.999, rtol=1e-6)
    draws = np.random.default_rng((0, 7, 1))
    assert [one[1] for one in given] == [draws.integers(1 << 30) for _ in range(2)]
    given.clear()
    made.step(whole_batch_at(2), 2)
    np.testing.assert_allclose(given[0][0], 1 - shares.mean((0, 2, 3)).double().numpy(), rtol=1e-5)


def test_crops_come_with_their_images_and_places() -> None:
    class Stored:
        def __len__(self) -> int:
            return 3

        def image(self, index: int) -> Any:
            return np.random.default_rng(index).integers(0, 256, (40, 50, 3), np.uint8)

    settings = Settings().replace(procedure="dtst", iterations=8, batch=2)
    plan = plan_rounds(settings, TargetCrops(Stored(), (32, 32), 5, 16), Path("unused"))
    assert plan.rounds == 7
    alone = TargetCrops(Stored(), (32, 32), 5, 16)
    for position in range(16):
        crop, whole, place = plan.crops[position]
        index, top, left = place.tolist()
        assert torch.equal(crop, alone[position]) and whole.dtype == torch.uint8
        assert (whole.permute(1, 2, 0).numpy() == Stored().image(index)).all()
        assert torch.equal(whole[:, top : top + 32, left : left + 32], crop)


def test_classes_that_do_not_fit_into_a_byte_are_refused() -> None:
    given: Any = SimpleNamespace(num_classes=128)
    own = dict.fromkeys(("momentum", "negative", "share", "classes", "scale", *PUBLISHED), 1.0)
    counts = dict.fromkeys(("first", "step", "longest", "rounds", "pixels"), 1)
    with pytest.raises(StvmError, match="128 classes in one byte, in which 127 have room"):
        DynamicTeacher(given, **own, **counts)  # type: ignore[arg-type]


def test_scores_that_never_count_are_refused() -> None:
    with pytest.raises(StvmError, match="dtst_longest=5 is below dtst_first=9"):
        Settings().replace(procedure="dtst", dtst_longest=5)
    brought = Settings().replace(procedure="dtst")
    assert brought.method.student_bn == "frozen" and brought.method.aug_strength == 0.5
    assert brought.training.evaluated == "teacher"
