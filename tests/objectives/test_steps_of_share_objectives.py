"""Whole steps of SHOT-IM, SRDA, SFDA-TAR and CoTTA, against twins written from the papers."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.networks import SegmentationNetwork, build_network
from stvm.objectives.objective import TargetBatch, TargetImages
from stvm.settings import Settings
from stvm.training.peer_builder import PeerAdaptation, build_peer, train_only

CLASSES = 5
CPU = torch.device("cpu")
RATE, HEADS, DECAY = 0.01, 10.0, 5e-4
PROCEDURES = ("shotim", "srda", "sfdatar", "cotta")
SHOT_BY_SOURCE = {"procedure": "shotim", "shotim_prior": "source"}


class Drawn:
    """Four target images of 32x32 pixels."""

    def __init__(self) -> None:
        self.pixels = np.random.default_rng(5).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.pixels)

    def image(self, index: int) -> Any:
        return self.pixels[index]


def source_model() -> SegmentationNetwork:
    torch.manual_seed(0)
    network = build_network("small_deeplab", 16, CLASSES)
    # Statistics that are not those of a batch.
    for norm in norms(network):
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.5, 2)
    return network.eval()


def norms(network: nn.Module) -> list[Any]:
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


def batches(count: int) -> list[Tensor]:
    draws = torch.Generator().manual_seed(9)
    return [torch.rand(2, 3, 32, 32, generator=draws) for _ in range(count)]


def adapted(procedure: str, steps: int, **changes: Any) -> tuple[PeerAdaptation, list[float]]:
    """An adaptation after some steps, and their losses."""
    given = {"procedure": procedure, "channels": 16, "lr": RATE, "aug": False}
    if procedure == "cotta":
        given["ema_momentum"] = 0.2
    adaptation = build_peer(Settings().replace(**given | changes), source_model(), CLASSES)
    images: Any = Drawn()
    adaptation.objective.begin_round(1, TargetImages(images, CPU), None)
    torch.manual_seed(1)
    reports = [
        adaptation.step(TargetBatch(images), k) for k, images in enumerate(batches(steps), start=1)
    ]
    return adaptation, [float(report.loss) for report in reports]


def moved(network: nn.Module, kinds: str) -> set[str]:
    """Names of what a step changed, of parameters or buffers."""
    before = dict(getattr(source_model(), f"named_{kinds}")())
    now = getattr(network, f"named_{kinds}")()
    return {name for name, value in now if not torch.equal(value, before[name])}


def named(what: str) -> set[str]:
    """Names of the source model's parameters, or of the statistics of its batch norms."""
    network = source_model()
    if what == "statistics":
        return {n for n, _ in network.named_buffers() if n not in ("mean", "std")}
    names = {n for n, _ in network.named_parameters()}
    return names if what == "all" else {n for n in names if not n.startswith("classifier")}


@pytest.mark.parametrize(
    "procedure, weights, statistics",
    [
        ("shotim", "all but the classifier", True),
        ("srda", "all", True),
        ("sfdatar", "all", True),
        ("cotta", "all", False),
    ],
)
def test_a_step_moves_what_the_objective_trains(
    procedure: str, weights: str, statistics: bool
) -> None:
    changes = {"cotta_restore": 0.0} if procedure == "cotta" else {}
    adaptation, _ = adapted(procedure, 1, **changes)
    assert moved(adaptation.student, "parameters") == named(weights)
    expected = named("statistics") if statistics else set()
    if procedure == "shotim":
        expected = {name for name in expected if not name.startswith("classifier")}
    assert moved(adaptation.student, "buffers") == expected


class Twin:
    """One trial by the papers' words: SGD with Nesterov momentum, step after step."""

    def __init__(self, procedure: str, **own: Any) -> None:
        self.procedure, self.own = procedure, own
        self.start, self.student, self.teacher = (source_model() for _ in range(3))
        if procedure != "cotta":
            self.student.train()
        trained = [list(self.student.features.parameters())]
        heads = list(self.student.classifier.parameters())
        rates = [RATE, RATE * (1 if procedure == "cotta" else HEADS)]
        if procedure == "shotim":
            self.student.classifier.eval()
        else:
            trained.append(heads)
        groups = [{"params": p, "lr": r} for p, r in zip(trained, rates, strict=False)]
        self.descent = torch.optim.SGD(groups, momentum=0.9, weight_decay=DECAY, nesterov=True)
        whole = torch.from_numpy(Drawn().pixels).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            self.prior = self.start(whole).softmax(1).mean((0, 2, 3))

    def step(self, x: Tensor) -> float:
        loss = self.loss(x)
        for p in self.student.parameters():
            p.grad = None
        loss.backward()
        self.descent.step()
        if self.procedure == "cotta":
            self.follow_and_restore()
        return float(loss.detach())

    def loss(self, x: Tensor) -> Tensor:
        labels = self.labels(x) if self.procedure == "cotta" else None
        z = self.student(x)
        if labels is not None:
            return F.cross_entropy(z, labels)
        p = z.softmax(1)
        if self.procedure == "sfdatar":
            return -(p**2).sum(1).mean()
        if self.procedure == "shotim":
            entropy = -(p * torch.log(p + 1e-5)).sum(1).mean()
            m = p.permute(1, 0, 2, 3).flatten(1).mean(1)
            diversity = (m * torch.log(m + 1e-5)).sum()
            if self.own.get("prior") == "source":
                diversity = diversity - (m * torch.log(self.prior + 1e-5)).sum()
            return entropy + diversity
        inverse = 1 / torch.maximum(self.prior, torch.tensor(0.01))
        v = inverse / inverse.sum()
        if self.own.get("class_weights") == "equal":
            v = torch.full((CLASSES,), 1 / CLASSES)
        entropy = -sum(v[c] * (p[:, c] * torch.log(p[:, c] + 1e-10)).sum() for c in range(CLASSES))
        groups = list(p.unsqueeze(1)) if self.own.get("shares") == "image" else [p]
        far = []
        for group in groups:
            s = group.permute(1, 0, 2, 3).flatten(1).mean(1)
            far.append((s * (torch.log(s + 1e-10) - torch.log(self.prior + 1e-10))).sum())
        return entropy / (x.numel() / 3) + self.own["weight"] * sum(far) / len(far)

    @torch.no_grad()
    def labels(self, x: Tensor) -> Tensor:
        """Labels where the anchor is sure: plain; elsewhere of the mean over the views."""
        sure = self.start(x).softmax(1).max(1)[0] > self.own["threshold"]
        plain = self.teacher(x).softmax(1)
        scales = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2] if self.own["views"] == "scales" else [1]
        views = []
        for scale in scales:
            small = F.interpolate(x, [int(32 * scale)] * 2, mode="bilinear")
            for flipped in (False, True):
                z = self.teacher(small.flip(3) if flipped else small)
                z = F.interpolate(z.flip(3) if flipped else z, (32, 32), mode="bilinear")
                views.append(z.softmax(1))
        assert 0 < sure.float().mean() < 1
        return torch.where(sure, plain.argmax(1), (sum(views) / len(views)).argmax(1))

    @torch.no_grad()
    def follow_and_restore(self) -> None:
        """The teacher moves to the student as it is before elements go back."""
        for own, new in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            own.copy_(0.8 * own + 0.2 * new)
        for value, old in zip(self.student.parameters(), self.start.parameters(), strict=True):
            back = torch.rand(value.shape) < self.own["restore"]
            value.copy_(torch.where(back, old, value))


@pytest.mark.parametrize(
    "procedure, own",
    [
        ("shotim", {"prior": "uniform"}),
        ("shotim", {"prior": "source"}),
        ("srda", {"weight": 1.0, "shares": "batch"}),
        ("srda", {"weight": 0.3, "shares": "image"}),
        ("srda", {"weight": 0.3, "shares": "batch", "class_weights": "equal"}),
        ("sfdatar", {}),
        ("cotta", {"threshold": 0.3, "views": "mirrored", "restore": 0.01}),
        ("cotta", {"threshold": 0.3, "views": "scales", "restore": 0.3}),
    ],
)
def test_three_steps_equal_a_twin(procedure: str, own: dict[str, Any]) -> None:
    changes = {f"{procedure}_{name}": value for name, value in own.items()}
    adaptation, losses = adapted(procedure, 3, **changes)
    twin = Twin(procedure, **own)
    torch.manual_seed(1)
    expected = [twin.step(x) for x in batches(3)]
    assert losses == pytest.approx(expected, rel=1e-5)
    pairs = [(adaptation.student, twin.student)]
    if procedure == "cotta":
        pairs.append((adaptation.teacher, twin.teacher))
    for ours, theirs in pairs:
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("own", [{"procedure": "srda"}, SHOT_BY_SOURCE])
def test_shares_that_are_measured_are_those_of_all_images_and_stay_in_the_state(
    own: dict[str, Any],
) -> None:
    adaptation, _ = adapted(steps=1, **own)
    twin = Twin("srda", weight=1.0)
    state = copy.deepcopy(adaptation.state_dict())
    torch.testing.assert_close(state["objective"]["prior"], twin.prior)
    settings = Settings().replace(channels=16, **own)
    other = build_peer(settings, source_model(), CLASSES)
    assert other.objective.state_dict()["prior"].tolist() == pytest.approx([0.2] * CLASSES)
    other.load_state_dict(state)
    torch.testing.assert_close(other.objective.state_dict()["prior"], twin.prior)


def test_cotta_counts_pixels_and_keeps_its_anchor() -> None:
    adaptation, _ = adapted("cotta", 2, cotta_restore=0.0)
    anchor = adaptation.objective.networks()["anchor"]
    assert moved(anchor, "parameters") == set() and moved(anchor, "buffers") == set()
    assert not adaptation.student.training and not any(n.training for n in norms(anchor))


class TwoNorms(nn.Module):
    """Batch norm in both halves, as in networks whose classifier has one too."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.classifier = nn.BatchNorm2d(2), nn.BatchNorm2d(2)


def test_a_frozen_classifier_keeps_the_statistics_of_its_own_batch_norm() -> None:
    network: Any = TwoNorms().train()
    train_only(network, "all_but_classifier")
    assert network.features.training and not network.classifier.training
    assert all(value.requires_grad for value in network.features.parameters())
    assert not any(value.requires_grad for value in network.classifier.parameters())


def permuted(network: SegmentationNetwork) -> None:
    """Lets the classes of a network change places, in place: class c becomes the one before it."""
    for weight in network.classifier.parameters():
        weight.data = weight.data.roll(-1, 0) if len(weight) == CLASSES else weight.data


def test_cotta_labels_with_the_teacher_and_the_anchor_decides_of_which_view() -> None:
    made, _ = adapted("cotta", 0, cotta_threshold=0.6)
    cotta: Any = made.objective
    x = torch.cat(batches(4))
    with torch.no_grad():
        plain = made.teacher(x).softmax(1)
        mean = (plain + made.teacher(x.flip(3)).softmax(1).flip(3)) / 2
    assert not torch.equal(plain.argmax(1), mean.argmax(1))
    permuted(made.student)
    assert torch.equal(cotta.label(x), mean.argmax(1))
    permuted(made.teacher)
    assert torch.equal(cotta.label(x), (mean.argmax(1) - 1) % CLASSES)
    for weight in cotta.anchor.classifier.parameters():
        weight.data *= 1e6
    assert torch.equal(cotta.label(x), (plain.argmax(1) - 1) % CLASSES)


def test_cotta_with_chance_one_stays_where_it_started() -> None:
    adaptation, _ = adapted("cotta", 2, cotta_restore=1.0)
    assert moved(adaptation.student, "parameters") == set()
    assert moved(adaptation.teacher, "parameters") == named("all")


@pytest.mark.parametrize("procedure", ["sfdatar", "cotta"])
def test_a_batch_in_two_parts_has_the_loss_of_the_whole(procedure: str) -> None:
    """CoTTA's batch norm is in eval mode, so even its weights end the same."""
    whole, _ = adapted(procedure, 1)
    parts, losses = adapted(procedure, 1, accumulate=2)
    assert math.isfinite(losses[0])
    if procedure == "cotta":
        pairs = zip(whole.student.parameters(), parts.student.parameters(), strict=True)
        for ours, theirs in pairs:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
