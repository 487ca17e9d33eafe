"""Labels of the offline passes against twins with sorted lists, and what is left after a kill."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stvm.method.mean_teacher import Labeller
from stvm.method.mixed_statistics import batch_norms
from stvm.objectives import offline_pass
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import TargetImages
from stvm.training.offline_passes import LabelPlace, OfflinePasses
from tests.objectives.test_offline_steps import C, built, start_network

CPU = torch.device("cpu")
SIZE = (24, 32)
SHARP = 60.0


class Pictures:
    """Five images of smooth noise, on which some predictions are sure."""

    def __len__(self) -> int:
        return 5

    def image(self, index: int) -> NDArray[np.uint8]:
        coarse = np.random.default_rng(index).integers(0, 256, (6, 8, 3))
        return coarse.repeat(4, 0).repeat(4, 1).astype(np.uint8)


IMAGES = TargetImages(Pictures(), CPU)


def made(procedure: str, folder: Path, number: int = 1, **changes: Any) -> NDArray[np.uint8]:
    """Labels of a round, (5, H, W)."""
    store = LabelStore(folder, 5, SIZE, "me")
    built(procedure, SHARP, **changes).objective.begin_round(number, IMAGES, store)
    assert store.complete
    return np.stack([store.read(k).numpy() for k in range(5)])


def shares_at_start(mirrored: bool) -> NDArray[np.float64]:
    """Shares of the network of the start, (5, C, H, W)."""
    network = start_network(SHARP)
    with torch.no_grad():
        found = []
        for k in range(5):
            image = IMAGES.image(k)
            shares = network(image).softmax(1)
            if mirrored:
                shares = (shares + network(image.flip(-1)).softmax(1).flip(-1)) / 2
            found.append(shares[0].double().numpy())
    return np.stack(found)


def thresholds(shares: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """K by sorting; 1 for a class that has none."""
    top, classes = shares.max(1), shares.argmax(1)
    found = []
    for c in range(C):
        ordered = np.sort(top[classes == c])[::-1]
        rank = int(np.floor(share * len(ordered)))
        found.append(ordered[rank - 1] if rank else 1.0)
    return np.array(found)


def balanced(shares: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    quotient = shares / thresholds(shares, share)[None, :, None, None]
    return np.where(quotient.max(1) >= 1, quotient.argmax(1), 255)


def nearly(found: NDArray[np.uint8], twin: NDArray[np.int64]) -> None:
    """The same labels but for a few pixels next to a threshold, and no other class at any."""
    assert 0.02 < (twin != 255).mean() < 0.98 and len(np.unique(twin)) > 2
    assert (found != twin).mean() < 0.005
    both = (found != 255) & (twin != 255)
    assert (found[both] == twin[both]).mean() > 0.999


@pytest.mark.parametrize(
    ("procedure", "number", "share"), [("cbst", 1, 0.2), ("cbst", 3, 0.3), ("crst", 9, 0.5)]
)
def test_balanced_labels_are_those_of_sorted_lists(
    procedure: str, number: int, share: float, tmp_path: Path
) -> None:
    nearly(made(procedure, tmp_path / "labels", number), balanced(shares_at_start(True), share))


def test_urma_labels_with_the_share_of_its_first_round(tmp_path: Path) -> None:
    nearly(made("urma", tmp_path / "labels"), balanced(shares_at_start(True), 0.2))


def test_iast_follows_the_images_in_order(tmp_path: Path) -> None:
    shares = shares_at_start(False)
    th, twin = np.full(C, 0.9), []
    for p in shares:
        top, classes = p.max(0), p.argmax(0)
        for c in range(C):
            own = np.sort(np.append(top[classes == c], th[c]))
            place = (1 - 0.25 * th[c] ** 8) * (len(own) - 1)
            low = int(place)
            high = own[min(low + 1, len(own) - 1)]
            th[c] = 0.9 * th[c] + 0.1 * (own[low] + (place - low) * (high - own[low]))
        twin.append(np.where(top >= th[classes], classes, 255))
    nearly(made("iast", tmp_path / "labels", 2), np.stack(twin))


def test_hcl_labels_every_pixel_from_two_scales_and_their_mirror_images(tmp_path: Path) -> None:
    network, twin = start_network(SHARP), []
    with torch.no_grad():
        for k in range(5):
            image, total = IMAGES.image(k), torch.zeros(1, C, *SIZE)
            for size in (SIZE, (30, 40)):
                seen = torch.nn.functional.interpolate(image, size=size, mode="bilinear")
                for flip in (False, True):
                    scores = network.logits(seen.flip(-1) if flip else seen)
                    scores = scores.flip(-1) if flip else scores
                    big = torch.nn.functional.interpolate(scores, size=SIZE, mode="bilinear")
                    total += big.softmax(1)
            twin.append(total.argmax(1)[0].numpy())
    found = made("hcl", tmp_path / "labels")
    assert (found == np.stack(twin)).mean() > 0.999 and found.max() < C


def test_ld_labels_with_the_statistics_of_each_image(tmp_path: Path) -> None:
    network = start_network(SHARP)
    network.train()
    with torch.no_grad():
        passes = [
            np.stack([network(IMAGES.image(k)).softmax(1)[0].double().numpy() for k in range(5)])
            for _ in range(2)
        ]
    shares = passes[1]
    top, classes = passes[0].max(1), passes[0].argmax(1)
    bounds = []
    for c in range(C):
        ordered = np.sort(top[classes == c])
        rank = int(0.1 * len(ordered))
        bounds.append(ordered[-rank] if len(ordered) else 1.0)
    by_class = (shares > np.minimum(bounds, 1 - 1e-9)[None, :, None, None]).any(1)
    own = shares.max(1).reshape(5, -1)
    cut = np.sort(own, 1)[:, ::-1][:, int(0.1 * own.shape[1]) - 1]
    by_image = shares.max(1) > cut[:, None, None]
    twin = np.where(by_class | by_image, shares.argmax(1), 255)
    store = LabelStore(tmp_path / "labels", 5, SIZE, "me")
    made_ld = built("ld", SHARP)
    made_ld.objective.begin_round(1, IMAGES, store)
    nearly(np.stack([store.read(k).numpy() for k in range(5)]), twin)
    # An AdaBN: two passes have moved the student's running statistics, and nothing else.
    for name, value in network.state_dict().items():
        torch.testing.assert_close(made_ld.student.state_dict()[name], value)


@pytest.mark.parametrize("procedure", ["cbst", "crst", "iast", "ld", "urma", "hcl"])
def test_the_labels_are_those_of_the_student_or_of_the_start(
    procedure: str, tmp_path: Path
) -> None:
    """A student whose classes have changed places changes those of the labels with them."""
    before = made(procedure, tmp_path / "before")
    moved = built(procedure, SHARP)
    order = torch.tensor([3, 0, 4, 1, 2])
    for weight in moved.student.classifier.parameters():
        weight.data = weight.data[order] if len(weight) == C else weight.data
    store = LabelStore(tmp_path / "after", 5, SIZE, "me")
    moved.objective.begin_round(1, IMAGES, store)
    after = np.stack([store.read(k).numpy() for k in range(5)])
    assert len(np.unique(before[before != 255])) > 2
    if procedure in ("urma", "hcl"):
        assert (after == before).all()
        return
    places = np.full(256, 255)
    places[order.numpy()] = np.arange(C)
    assert (after == places[before]).mean() > 0.999 and (after != before).mean() > 0.02


@pytest.mark.parametrize("procedure", ["cbst", "crst", "iast", "urma", "hcl", "ld", "ldbe"])
def test_labels_that_are_complete_are_not_made_again(procedure: str, tmp_path: Path) -> None:
    """The pass of a trial that was killed between it and the first iteration of the round."""
    whole = made(procedure, tmp_path)
    first = built(procedure, SHARP)
    first.objective.begin_round(1, IMAGES, LabelStore(tmp_path / "twin", 5, SIZE, "me"))

    class Unread(TargetImages):
        def image(self, index: int) -> torch.Tensor:
            raise Killed

    again, store = built(procedure, SHARP), LabelStore(tmp_path, 5, SIZE, "me")
    again.objective.begin_round(1, Unread(Pictures(), CPU), store)
    assert store.complete and (np.stack([store.read(k).numpy() for k in range(5)]) == whole).all()
    for name, value in again.student.state_dict().items():
        assert torch.equal(value, first.student.state_dict()[name]), name


def test_the_mixed_rounds_of_ldbe_begin_with_the_first_share_again(tmp_path: Path) -> None:
    kept = {n: made("ldbe", tmp_path / str(n), n) for n in (1, 2, 3, 4)}
    assert (kept[1] == kept[3]).all() and (kept[2] == kept[4]).all()
    assert (kept[1] != kept[2]).any()


@pytest.mark.parametrize("cut", [0, 10, -30])
def test_a_damaged_file_of_progress_costs_one_pass(cut: int, tmp_path: Path) -> None:
    whole = made("iast", tmp_path / "labels")
    path = tmp_path / "labels" / "progress.npz"
    path.write_bytes(path.read_bytes()[:cut])
    assert LabelStore(tmp_path / "labels", 5, SIZE, "me").done == 0
    assert (made("iast", tmp_path / "labels") == whole).all()


class Killed(BaseException):
    pass


def killing(seen: SimpleNamespace, at: int) -> type[TargetImages]:
    """Images that count how often one is read in `seen.images`, and are killed at a number."""

    class Killing(TargetImages):
        def image(self, index: int) -> torch.Tensor:
            seen.images += 1
            if seen.images == at:
                raise Killed
            return super().image(index)

    return Killing


@pytest.mark.parametrize("procedure", ["cbst", "crst", "iast", "urma", "hcl", "ld", "ldbe"])
@pytest.mark.parametrize("at", [4, *(pytest.param(at, marks=pytest.mark.slow) for at in (1, 6, 9))])
@pytest.mark.parametrize("together", [1, 2])
def test_a_killed_pass_ends_with_the_same_labels(
    procedure: str, at: int, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TargetImages, "size_of_batch", lambda _: together)
    whole = made(procedure, tmp_path / "whole")
    statistics = built(procedure, SHARP)
    statistics.objective.begin_round(1, IMAGES, LabelStore(tmp_path / "again", 5, SIZE, "me"))
    monkeypatch.setattr(offline_pass, "SAVE_S", 0.0)
    seen = SimpleNamespace(images=0)

    killed_images = killing(seen, at)
    store = LabelStore(tmp_path / "killed", 5, SIZE, "me")
    surveys = procedure not in ("iast", "hcl")
    if surveys or at <= 5:
        with pytest.raises(Killed):
            built(procedure, SHARP).objective.begin_round(1, killed_images(Pictures(), CPU), store)
    seen.images = 100
    again = LabelStore(tmp_path / "killed", 5, SIZE, "me")
    resumed = built(procedure, SHARP)
    resumed.objective.begin_round(1, killed_images(Pictures(), CPU), again)
    assert (np.stack([again.read(k).numpy() for k in range(5)]) == whole).all()
    for name, value in resumed.student.state_dict().items():
        assert torch.equal(value, statistics.student.state_dict()[name]), name
    if surveys or at <= 5:
        # Nothing that was saved is done again.
        size = 1 if procedure in ("ld", "ldbe") else together
        lost = (at - 1) % 5 % size
        assert seen.images - 100 == (10 if surveys else 5) - (at - 1) + lost


@pytest.mark.parametrize(
    ("procedure", "changes", "together"),
    [("ld", {}, 1), ("cbst", {"labeller_bn": "batch"}, 1), ("cbst", {}, 8), ("shot", {}, 8)],
)
def test_a_trial_gives_single_images_to_a_pass_that_needs_them(
    procedure: str,
    changes: dict[str, Any],
    together: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_with = built(procedure, **changes)
    given = []

    def begin_round(number: int, images: TargetImages, labels: LabelStore) -> None:
        given.append(images.size_of_batch())
        labels.save(len(images))

    monkeypatch.setattr(made_with.objective, "begin_round", begin_round)
    OfflinePasses(made_with, Pictures(), LabelPlace(tmp_path, "me"), 8).begin(1)
    assert given == [together]
    # LD has statistics of the batch besides; an objective may ask for single images alone.
    monkeypatch.setattr(made_with.objective, "one_by_one", True)
    plain = replace(made_with.objective.given, label=Labeller(made_with.student))
    monkeypatch.setattr(made_with.objective, "given", plain)
    OfflinePasses(made_with, Pictures(), LabelPlace(tmp_path / "alone", "me"), 8).begin(1)
    assert given == [together, 1]


@pytest.mark.parametrize("procedure", ["cbst", "crst", "iast", "urma", "hcl"])
def test_batches_of_images_get_the_labels_of_single_images(
    procedure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TargetImages, "size_of_batch", lambda _: 1)
    single = made(procedure, tmp_path / "single")
    monkeypatch.setattr(TargetImages, "size_of_batch", lambda _: 3)
    assert (made(procedure, tmp_path / "batches") == single).mean() > 0.999


def test_images_of_a_pass_keep_the_memory_order_of_earlier_trials() -> None:
    """In the order of channels last convolutions round otherwise, and trials lose their bits."""
    assert IMAGES.batch(0, 1).is_contiguous() and IMAGES.batch(0, 3).is_contiguous()


@pytest.mark.parametrize("procedure", ["ld", "ldbe"])
def test_statistics_follow_one_image_after_another(procedure: str, tmp_path: Path) -> None:
    made_with = built(procedure, SHARP)
    counts = [norm.num_batches_tracked for norm in batch_norms(made_with.student)]
    before = [int(count) for count in counts]
    store = LabelStore(tmp_path / "labels", 5, SIZE, "me")
    made_with.objective.begin_round(1, IMAGES, store)
    assert [int(after) - old for after, old in zip(counts, before, strict=True)] == [10] * len(
        counts
    )
