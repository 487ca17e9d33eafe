"""Whole steps of the objectives with offline labels, against twins written from their papers.

The twins use plain torch and loops; weights, crops and draws are those of the objective.
"""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from stvm.memory.estimate import phases
from stvm.networks import SegmentationNetwork, build_network
from stvm.objectives.objective import TargetBatch
from stvm.training.adaptation import build
from stvm.training.peer_builder import PeerAdaptation
from tests.helpers.tiny_settings import tiny

C = 5
FROZEN = ("cbst", "crst", "iast")
EACH_ROUND = ("cbst", "crst", "iast", "ld", "ldbe")
ALL = (*EACH_ROUND, "urma", "hcl")


def start_network(sharp: float = 8.0) -> SegmentationNetwork:
    torch.manual_seed(0)
    network = build_network("small_deeplab", 16, C)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(4, 3, 32, 32))
    # Weights as large as these make some pixels sure and others not.
    for parameter in network.classifier.parameters():
        parameter.data.mul_(sharp)
    return network.eval()


def batch_at(number: int, labelled: bool = True) -> TargetBatch:
    draws = torch.Generator().manual_seed(number)
    labels = torch.randint(0, C + (2 if labelled else 0), (2, 32, 32), generator=draws)
    images = torch.rand(2, 3, 32, 32, generator=draws)
    return TargetBatch(images, labels.masked_fill(labels >= C, 255).to(torch.uint8))


def built(procedure: str, sharp: float = 8.0, **changes: Any) -> PeerAdaptation:
    settings = tiny().replace(procedure=procedure, channels=16, lr=0.01, **changes)
    made = build(settings, start_network(sharp), C)
    assert isinstance(made, PeerAdaptation)
    return made


class Twin:
    """Student and plain SGD, as section 0 of the specification has it: batch norm fixed or not."""

    def __init__(self, procedure: str) -> None:
        self.student = start_network().train().requires_grad_(True)
        for norm in (m for m in self.student.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.requires_grad_(procedure == "urma")
            norm.train(procedure not in FROZEN)
        self.momenta: dict[int, Tensor] = {}

    def step(self, loss: Tensor, more: tuple[nn.Module, ...] = ()) -> None:
        """SGD with Nesterov momentum 0.9 and weight decay 5e-4; heads x10."""
        s = tiny()
        loss.backward()
        parts = [(self.student.features, 0.01), (self.student.classifier, 0.1)]
        parts += [(head, 0.1) for head in more]
        for part, rate in parts:
            for p in part.parameters():
                if p.grad is None:
                    continue
                g = p.grad + s.training.weight_decay * p.data
                v = self.momenta.get(id(p))
                v = g.clone() if v is None else 0.9 * v + g
                self.momenta[id(p)] = v
                p.data -= rate * (g + 0.9 * v)
                p.grad = None


def pixels(logits: Tensor, labels: Tensor) -> list[tuple[Tensor, int]]:
    """Shares and label of each pixel."""
    shares = logits.softmax(1).permute(0, 2, 3, 1).reshape(-1, C)
    return list(zip(shares, labels.flatten().tolist(), strict=True))


def mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean() if values else torch.tensor(0.0)


def cross_entropy(found: list[tuple[Tensor, int]]) -> Tensor:
    return mean([-p[y].log() for p, y in found if y != 255])


def entropies(found: list[tuple[Tensor, int]], only: Callable[[int], bool]) -> Tensor:
    return mean([-(p * p.log()).sum() for p, y in found if only(y)])


def smooth(found: list[tuple[Tensor, int]]) -> Tensor:
    return mean([-p.log().mean() for p, y in found if y != 255])


def loss_of(procedure: str, logits: Tensor, labels: Tensor, rank: int) -> Tensor:
    """The losses that depend on the student's scores and the labels alone."""
    found = pixels(logits, labels)
    own = cross_entropy(found)
    if procedure == "crst":
        return own + 0.1 * smooth(found)
    if procedure == "iast":
        ignored = entropies(found, lambda y: y == 255) / C
        return own + 3.0 * ignored + 0.1 * smooth(found) / C
    if procedure in ("ld", "ldbe"):
        negative = mean([-(1 - p.sort(descending=True).values[rank - 1]).log() for p, _ in found])
        return own + entropies(found, lambda y: True) + negative
    return own


def assert_same(made: PeerAdaptation, twin: Twin) -> None:
    mine, other = made.student.state_dict(), twin.student.state_dict()
    for name, value in mine.items():
        torch.testing.assert_close(value, other[name], rtol=2e-4, atol=2e-6, msg=name)


@pytest.mark.parametrize("procedure", EACH_ROUND)
def test_two_steps_are_those_of_the_twin(procedure: str) -> None:
    made, twin = built(procedure), Twin(procedure)
    for iteration in (1, 2):
        batch = batch_at(iteration)
        assert batch.labels is not None
        # Of five classes the middle one is 2, and the rank is not below 2.
        rank = 2
        loss = loss_of(procedure, twin.student(batch.images), batch.labels, rank)
        twin.step(loss)
        report = made.step(batch, iteration)
        assert report.loss.item() == pytest.approx(loss.item(), rel=1e-5)
        kept = (batch.labels != 255).float().mean().item()
        assert float(report.measured["kept"]) == pytest.approx(kept)
    assert_same(made, twin)


def test_two_steps_of_urma_are_those_of_the_twin() -> None:
    made, twin = built("urma"), Twin("urma")
    heads = copy.deepcopy(made.objective.networks()["decoders"])
    for iteration in (1, 2):
        batch = batch_at(iteration)
        assert batch.labels is not None
        torch.manual_seed(iteration)
        features = twin.student.extract(batch.images)

        def enlarged(scores: Tensor) -> Tensor:
            return F.interpolate(scores, size=(32, 32), mode="bilinear", align_corners=False)

        logits = enlarged(twin.student.classifier(features))
        found = pixels(logits, batch.labels)
        loss = cross_entropy(found) + entropies(found, lambda y: True) / math.log(C)
        for head in heads.children():
            seen = enlarged(head(F.dropout2d(features, 0.5))).softmax(1)
            loss = loss + 0.1 * ((seen - logits.detach().softmax(1)) ** 2).sum() / (2 * 32 * 32 * C)
        twin.step(loss, tuple(heads.children()))
        torch.manual_seed(iteration)
        assert made.step(batch, iteration).loss.item() == pytest.approx(loss.item(), rel=1e-5)
    assert_same(made, twin)
    mine = made.objective.networks()["decoders"].state_dict()
    for name, value in heads.state_dict().items():
        torch.testing.assert_close(mine[name], value, rtol=2e-4, atol=2e-6)


def in_train_mode(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and enlarged scores with the statistics of the batch."""
    assert isinstance(network, SegmentationNetwork)
    with torch.no_grad():
        features = network.train().extract(images)
        scores = network.classifier(features)
        return features, F.interpolate(scores, size=(32, 32), mode="bilinear", align_corners=False)


def small(labels: Tensor, size: Iterable[int]) -> Tensor:
    rows, columns = (torch.arange(n) * 32 // n for n in size)
    return labels[:, rows][:, :, columns]


def contrast(own: Tensor, slow: Tensor, labels: Tensor, sure: Tensor) -> Tensor:
    total = []
    for n in range(2):
        a, b = (F.normalize(x[n].flatten(1), dim=0) for x in (own, slow))
        r, y = sure[n].flatten(), labels[n].flatten()
        e = r * (a.T @ b / 0.07).exp()
        e = e * (1 - torch.eye(len(y)))
        for i in range(len(y)):
            alike = [j for j in range(len(y)) if j != i and y[j] == y[i]]
            total.append(-(e[i, alike] / e[i].sum()).log().sum() / len(y))
    return torch.stack(total).mean()


@pytest.mark.parametrize(("most", "side"), [(64, 1), (63, 2)])
def test_three_steps_of_hcl_are_those_of_the_twin(most: int, side: int) -> None:
    """With all 8x8 positions in the contrastive loss, and with the means of squares of them."""
    made = built("hcl", hcl_period=2, hcl_momentum=0.3, hcl_positions=most)
    twin = Twin("hcl")
    slow, past = copy.deepcopy(twin.student), copy.deepcopy(twin.student)
    frequency = torch.ones(C)
    for iteration in (1, 2, 3):
        batch = batch_at(iteration, labelled=False)
        assert batch.labels is not None
        labels = batch.labels.long().masked_fill(batch.labels == 4, 0)
        labels[:, :1, :20] = 3
        for own, new in zip(slow.parameters(), twin.student.parameters(), strict=True):
            own.data = 0.7 * own.data + 0.3 * new.data
        for own, new in zip(slow.buffers(), twin.student.buffers(), strict=True):
            own.data = new.data.clone()
        features, average = in_train_mode(slow, batch.images)
        h, e = in_train_mode(past, batch.images)[1].softmax(1), average.softmax(1)
        agreed = (-(h * (h / e).log()).sum(1)).exp()
        absent = torch.tensor([7.0 if (labels == c).sum() == 0 else 1.0 for c in range(C)])
        frequency = 0.9 * frequency + 0.1 * absent
        rare = torch.tensor([7.0 if (labels == c).sum() < 64 else 1.0 for c in range(C)])
        mine = twin.student.extract(batch.images)
        logits = F.interpolate(twin.student.classifier(mine), size=(32, 32), mode="bilinear")
        losses = -logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
        size = (mine.shape[2], mine.shape[3])
        unsure = -(e * e.log2()).sum(1, keepdim=True) / math.log2(C)
        sure = (1.1 - F.interpolate(unsure, size=size, mode="bilinear")).clamp(0.9, 1.1)
        mine, features, sure = (
            x.unflatten(3, (-1, side)).unflatten(2, (-1, side)).mean((3, 5))
            for x in (mine, features, sure)
        )
        near = contrast(mine, features, small(labels, mine.shape[2:]), sure[:, 0])
        loss = ((rare * frequency)[labels] * losses * agreed).mean() + 0.5 * near
        if iteration == 3:
            slow.load_state_dict(twin.student.state_dict())
            past.load_state_dict(twin.student.state_dict())
        twin.step(loss)
        given = TargetBatch(batch.images, labels.to(torch.uint8))
        report = made.step(given, iteration)
        assert report.loss.item() == pytest.approx(loss.item(), rel=1e-4)
        assert float(report.measured["weight"]) == pytest.approx(agreed.mean().item(), rel=1e-5)
    assert_same(made, twin)
    for name, network in {"average": slow, "historical": past}.items():
        kept = made.objective.networks()[name].state_dict()
        for key, value in network.state_dict().items():
            torch.testing.assert_close(kept[key], value, rtol=1e-3, atol=1e-5, msg=key)


def test_two_mixed_steps_of_ldbe_are_those_of_the_twin() -> None:
    made, twin = built("ldbe"), Twin("ldbe")
    objective: Any = made.objective
    objective.number = 3
    slow = copy.deepcopy(twin.student)
    for iteration, decay in ((1, 0.0), (2, 0.5)):
        batch = batch_at(iteration)
        assert batch.labels is not None
        shares, labels = in_train_mode(slow, batch.images)[1].softmax(1).max(1)
        for n, y, x in (batch.labels != 255).nonzero().tolist():
            labels[n, y, x], shares[n, y, x] = int(batch.labels[n, y, x]), 1.0
        mixed = [x.clone() for x in (batch.images, labels, shares)]
        draws = np.random.default_rng((0, 5, iteration))
        for n in range(2):
            order = draws.permutation(C).tolist()
            there = set(labels[n].flatten().tolist())
            chosen = [c for c in order if c in there][: len(there) // 2]
            for y in range(32):
                for x in range(32):
                    if int(labels[n, y, x]) not in chosen:
                        mixed[0][n, :, y, x] = batch.images[1 - n, :, y, x]
                        mixed[1][n, y, x] = labels[1 - n, y, x]
                        mixed[2][n, y, x] = shares[1 - n, y, x]
        losses = -twin.student(mixed[0]).log_softmax(1).gather(1, mixed[1][:, None])[:, 0]
        weights = torch.tensor([(s >= 0.97).sum() / (32 * 32) for s in mixed[2]])
        weighed = weights[:, None, None] * losses
        loss = weighed[losses > 0].mean()
        twin.step(loss)
        for own, new in zip(slow.parameters(), twin.student.parameters(), strict=True):
            own.data = decay * own.data + (1 - decay) * new.data
        assert made.step(batch, iteration).loss.item() == pytest.approx(loss.item(), rel=1e-5)
    assert_same(made, twin)
    kept = objective.networks()["average"].state_dict()
    for key, value in slow.state_dict().items():
        torch.testing.assert_close(kept[key], value, rtol=1e-3, atol=1e-5, msg=key)


def test_networks_of_an_objective_are_checked_and_counted_with_the_others() -> None:
    for procedure, count in (("cbst", 2), ("urma", 3), ("ldbe", 3), ("hcl", 4)):
        made = built(procedure)
        found = made.networks()
        assert len(found) == count and found[0] is made.student
        own = made.objective.networks().values()
        assert all(any(network is one for one in found) for network in own), procedure


@pytest.mark.parametrize("procedure", ALL)
def test_what_moves_in_one_step(procedure: str) -> None:
    made = built(procedure)
    start = start_network().state_dict()
    given = batch_at(1, labelled=procedure != "hcl")
    made.step(given, 1)
    norms = {n for n, m in made.student.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert norms
    for name, value in made.student.state_dict().items():
        module, _, kind = name.rpartition(".")
        follows = kind in ("running_mean", "running_var", "num_batches_tracked")
        moves = (
            procedure == "urma" or (follows and procedure not in FROZEN)
            if module in norms
            else True
        )
        assert torch.equal(value, start[name]) != moves, name


@pytest.mark.parametrize("procedure", [p for p in ALL if p != "hcl"])
def test_a_batch_without_a_label_moves_no_weight_by_its_labels(procedure: str) -> None:
    made = built(procedure)
    batch = batch_at(1)
    assert batch.labels is not None
    report = made.step(TargetBatch(batch.images, torch.full_like(batch.labels, 255)), 1)
    assert torch.isfinite(report.loss)
    assert all(torch.isfinite(p).all() for p in made.student.parameters())
    if procedure in ("cbst", "crst"):
        assert report.loss.item() == 0


@pytest.mark.parametrize("procedure", ["cbst", "crst", "iast", "urma", "ld"])
def test_parts_of_a_batch_have_its_gradient(procedure: str) -> None:
    moved = []
    for parts in (1, 2):
        own = {"urma_dropout": 0} if procedure == "urma" else {}
        made = built(procedure, batch=4, accumulate=parts, **own)
        for norm in (m for m in made.student.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.eval().requires_grad_(False)
        two = [batch_at(n) for n in (1, 2)]
        labels = torch.cat([b.labels for b in two if b.labels is not None])
        labels[:2, :20] = 255
        made.step(TargetBatch(torch.cat([b.images for b in two]), labels), 1)
        moved.append(made.student.state_dict())
    for name, value in moved[0].items():
        torch.testing.assert_close(value, moved[1][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("procedure", ALL)
def test_the_memory_of_a_step_is_estimated(procedure: str) -> None:
    settings = tiny().replace(batch=2, source_checkpoint="none")

    def copies(name: str) -> float:
        found = {p.name: p.parts for p in phases(settings.replace(procedure=name))}
        return found["adaptation"]["weights"]

    one = copies("minent") / 2
    # Source and student stand in all of them; then the frozen start that labels, and own networks.
    more = (copies(procedure) - copies("minent")) / one
    if procedure == "urma":
        # Its four decoders are as large as the classifier, a part of a network.
        assert 1 < more < 5
    else:
        assert more == pytest.approx({"hcl": 3, "ldbe": 1}.get(procedure, 0), abs=0.01)


def test_a_mixed_step_needs_no_value_on_the_processor() -> None:
    made = built("ldbe")
    objective: Any = made.objective
    objective.number = 3
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert made.step(batch_at(1), 1).loss.shape == ()
