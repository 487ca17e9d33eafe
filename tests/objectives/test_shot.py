"""SHOT: centroid labels against a twin with scipy's distances, and steps against a loss by hand."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.errors import StvmError
from stvm.objectives import offline_pass
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import TargetBatch, TargetImages
from stvm.objectives.shot import Centroids, cosines, weighted_sums, with_unit_length
from stvm.settings import Settings
from stvm.training.peer_builder import own_values
from tests.objectives.test_offline_labels import CPU, IMAGES, SHARP, SIZE, Killed, Pictures
from tests.objectives.test_offline_steps import C, Twin, assert_same, batch_at, built, start_network

Values = NDArray[Any]


def labelled(folder: Path, images: Any = IMAGES, **changes: Any) -> Values:
    """Labels of a pass, (5, H, W)."""
    store = LabelStore(folder, 5, SIZE, "me")
    built("shot", SHARP, **changes).objective.begin_round(1, images, store)
    assert store.complete
    return np.stack([store.read(k).numpy() for k in range(5)])


def twin_centroids(least: int) -> tuple[Values, Values, tuple[int, ...]]:
    """Features of all positions, final centroids (0 for none), and the shape of the maps."""
    network = start_network(SHARP)
    with torch.no_grad():
        maps = torch.cat([network.extract(IMAGES.image(k)) for k in range(5)])
        shares = network.classifier(maps).softmax(1).movedim(1, -1).reshape(-1, C).double().numpy()
    rows = maps.movedim(1, -1).reshape(-1, maps.shape[1]).double().numpy()
    rows = np.concatenate([rows, np.ones((len(rows), 1))], 1)
    rows = rows / np.sqrt((rows**2).sum(1, keepdims=True))
    weights, labels = shares, shares.argmax(1)
    for _ in range(2):
        centroids = weights.T @ rows / (1e-8 + weights.sum(0)[:, None])
        there = np.flatnonzero(np.bincount(labels, minlength=C) > least)
        final = np.zeros_like(centroids)
        final[there] = centroids[there]
        labels = there[cdist(rows, centroids[there], "cosine").argmin(1)]
        weights = np.eye(C)[labels]
    return rows, final, (5, maps.shape[2], maps.shape[3])


@pytest.mark.parametrize("least", [0, 60])
def test_labels_are_those_of_the_nearest_centroids(least: int, tmp_path: Path) -> None:
    rows, centroids, shape = twin_centroids(least)
    near = 1 - cdist(rows, np.where(centroids == 0, 1e-12, centroids), "cosine")
    near[:, (centroids == 0).all(1)] = -1
    maps = torch.from_numpy(near).float().view(*shape, C).movedim(-1, 1)
    twin = F.interpolate(maps, size=SIZE, mode="bilinear", align_corners=False).argmax(1).numpy()
    found = labelled(tmp_path, shot_least=least)
    assert (found == twin).mean() > 0.995 and len(np.unique(twin)) > (1 if least else 2)
    start = start_network(SHARP)
    with torch.no_grad():
        plain = np.stack([start(IMAGES.image(k)).argmax(1)[0].numpy() for k in range(5)])
    assert 0.02 < (found != plain).mean() < 0.9


def test_a_class_with_few_positions_gets_no_label(tmp_path: Path) -> None:
    plain = labelled(tmp_path / "all")
    network = start_network(SHARP)
    with torch.no_grad():
        maps = [network.logits(IMAGES.image(k)).argmax(1) for k in range(5)]
    counts = np.bincount(torch.cat(maps).flatten().numpy(), minlength=C)
    least = int(counts.max()) - 1
    found = labelled(tmp_path / "few", shot_least=least)
    assert set(np.unique(found)) <= {int(counts.argmax())} and len(np.unique(plain)) > 2
    with pytest.raises(StvmError, match="shot_least=100000 leaves no class a centroid"):
        labelled(tmp_path / "none", shot_least=100000)


def test_centroids_by_hand() -> None:
    features = with_unit_length(torch.tensor([[3.0, 0.0], [0.0, 0.0]]).view(1, 2, 1, 2))
    expected = torch.tensor([[3 / math.sqrt(10), 0.0], [0.0, 0.0], [1 / math.sqrt(10), 1.0]])
    torch.testing.assert_close(features[0, :, 0], expected)
    weights = torch.tensor([[0.75, 0.5], [0.25, 0.5], [0.0, 0.0]]).view(1, 3, 1, 2)
    found = Centroids(3)
    for _ in range(2):
        found.add(weighted_sums(features, weights), torch.tensor([[[0, 1]]]))
    values = found.values(0, CPU)
    torch.testing.assert_close(values[0], expected @ torch.tensor([0.6, 0.4]))
    torch.testing.assert_close(values[1], expected @ torch.tensor([1 / 3, 2 / 3]))
    assert (values[2] == 0).all() and found.counts.tolist() == [2, 2, 0]
    assert (found.values(1, CPU)[:2] == values[:2]).all()
    near = cosines(features, torch.tensor([[0.0, 5.0, 5.0], [9.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    hand = [[math.sqrt(0.05), math.sqrt(0.5)], [math.sqrt(0.9), 0.0], [-1.0, -1.0]]
    torch.testing.assert_close(near[0, :, 0], torch.tensor(hand))


def information(logits: Tensor) -> Tensor:
    shares = logits.softmax(1)
    mean = shares.mean((0, 2, 3))
    own = -(shares * (shares + 1e-5).log()).sum(1).mean()
    return own + (mean * (mean + 1e-5).log()).sum()


def test_two_steps_are_those_of_the_twin() -> None:
    made, twin = built("shot"), Twin("urma")
    twin.student.classifier.requires_grad_(False).eval()
    for iteration in (1, 2):
        batch = batch_at(iteration, labelled=False)
        assert batch.labels is not None
        labels = batch.labels.long() % C
        logits = twin.student(batch.images)
        losses = -logits.log_softmax(1).gather(1, labels[:, None]).mean()
        loss = information(logits) + 0.3 * losses
        twin.step(loss)
        report = made.step(TargetBatch(batch.images, labels.to(torch.uint8)), iteration)
        assert report.loss.item() == pytest.approx(loss.item(), rel=1e-5)
    assert_same(made, twin)


def test_what_moves_in_one_step() -> None:
    made, first = built("shot"), start_network().state_dict()
    made.step(batch_at(1), 1)
    for name, value in made.student.state_dict().items():
        assert torch.equal(value, first[name]) == name.startswith("classifier."), name
    assert any(isinstance(m, nn.BatchNorm2d) for m in made.student.features.modules())


def test_the_student_labels_in_eval_mode_and_keeps_its_statistics(tmp_path: Path) -> None:
    made = built("shot", SHARP)
    store = LabelStore(tmp_path, 5, SIZE, "me")
    before = {name: value.clone() for name, value in made.student.state_dict().items()}
    modes = [module.training for module in made.student.modules()]
    made.objective.begin_round(1, IMAGES, store)
    assert all(torch.equal(v, before[n]) for n, v in made.student.state_dict().items())
    assert modes == [module.training for module in made.student.modules()]
    # A student that has moved labels otherwise; the start would not.
    plain = np.stack([store.read(k).numpy() for k in range(5)])
    for weight in made.student.features.parameters():
        weight.data += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    again = LabelStore(tmp_path / "again", 5, SIZE, "me")
    made.objective.begin_round(2, IMAGES, again)
    moved = np.stack([again.read(k).numpy() for k in range(5)])
    assert (moved != plain).mean() > 0.02


@pytest.mark.parametrize(("at", "together"), [(2, 1), (4, 2), (8, 1), (13, 2)])
def test_a_killed_pass_ends_with_the_same_labels(
    at: int, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten images for the centroids and five for the labels; what was saved is not seen again."""
    monkeypatch.setattr(TargetImages, "size_of_batch", lambda _: together)
    whole = labelled(tmp_path / "whole")
    monkeypatch.setattr(offline_pass, "SAVE_S", 0.0)
    seen = SimpleNamespace(images=0)

    class Killing(TargetImages):
        def image(self, index: int) -> Tensor:
            seen.images += 1
            if seen.images == at:
                raise Killed
            return super().image(index)

    with pytest.raises(Killed):
        labelled(tmp_path / "killed", Killing(Pictures(), CPU))
    seen.images = 100
    assert (labelled(tmp_path / "killed", Killing(Pictures(), CPU)) == whole).all()
    lost = (at - 1) % 5 % together
    assert seen.images - 100 == 15 - (at - 1) + lost
    seen.images = 200
    assert (labelled(tmp_path / "killed", Killing(Pictures(), CPU)) == whole).all()
    assert seen.images == 200


def test_expected_shares_of_the_start_enter_the_loss() -> None:
    """The divergence of the mean prediction from them stands in the place of its entropy."""
    made = built("shot", shot_prior="source")
    prior = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
    made.objective.expected.values = prior  # type: ignore[attr-defined]
    batch = batch_at(1, labelled=False)
    assert batch.labels is not None
    labels = batch.labels.long() % C
    with torch.no_grad():
        student = start_network()
        student.train()
        student.classifier.eval()
        logits = student(batch.images)
    shares = logits.softmax(1)
    mean = shares.mean((0, 2, 3))
    hand = -(shares * (shares + 1e-5).log()).sum(1).mean()
    hand += (mean * ((mean + 1e-5) / (prior + 1e-5)).log()).sum()
    hand += 0.3 * F.cross_entropy(logits, labels)
    report = made.step(TargetBatch(batch.images, labels.to(torch.uint8)), 1)
    assert report.loss.item() == pytest.approx(hand.item(), rel=1e-5)


def test_published_values_are_the_defaults() -> None:
    settings = Settings().replace(procedure="shot")
    assert own_values(settings) == {"prior": "uniform", "rounds": 15, "weight": 0.3, "least": 0}
    with pytest.raises(StvmError, match="head_lr_factor=3.0 has no effect"):
        settings.replace(head_lr_factor=3.0)
    with pytest.raises(StvmError, match="accumulate=2 has no effect"):
        settings.replace(batch=4, accumulate=2)
