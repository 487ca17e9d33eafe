"""Regions that DT-ST pastes: which are banked, what a killed pass leaves, and where they go."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stvm.objectives import offline_pass
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import TargetImages
from stvm.objectives.region_bank import RegionBank, free_place, rare_classes
from stvm.objectives.region_survey import agreed_regions, agreements, rank_kept
from tests.objectives.test_offline_labels import CPU, IMAGES, SHARP, SIZE, Killed, Pictures, killing
from tests.objectives.test_offline_steps import C, built, start_network

Values = NDArray[Any]


def shares_of(network: Any) -> Values:
    with torch.no_grad():
        return np.stack([network(IMAGES.image(k)).softmax(1)[0].numpy() for k in range(5)])


def surveyed(folder: Path, number: int = 1, images: Any = IMAGES, **changes: Any) -> Any:
    """The objective and its labels (5, H, W) after the pass of a round."""
    made = built("dtst", SHARP, **changes)
    store = LabelStore(folder / f"round-{number}", 5, SIZE, "me")
    made.objective.begin_round(number, images, store)
    assert store.complete
    return made, np.stack([store.read(k).numpy() for k in range(5)])


@pytest.mark.parametrize(
    ("count", "share", "rank"),
    [(10, 0.5, 5), (3, 0.5, 1), (1, 0.5, 1), (4, 0.5, 2), (10, 1, 10), (10, 0.2, 2), (0, 0.5, 1)],
)
def test_ranks_by_hand(count: int, share: float, rank: int) -> None:
    """Of the values from low to high, the one at place round(n / 2) is the last that is kept."""
    assert rank_kept(count, share) == rank


def test_the_first_bank_has_the_confident_half_of_each_class(tmp_path: Path) -> None:
    shares = shares_of(start_network(SHARP))
    top, classes = shares.max(1), shares.argmax(1)
    twin = classes + 128
    for c in range(C):
        ordered = np.sort(top[classes == c])
        if len(ordered):
            bound = ordered[min(round(0.5 * len(ordered)), len(ordered) - 1)]
            twin[(classes == c) & (top >= bound)] = c
    made, found = surveyed(tmp_path)
    assert (found % 128 == classes).all()
    assert (found != twin).mean() < 0.003 and 0.4 < (found < 128).mean() < 0.6
    sure = np.stack([[(one == c).sum() for c in range(C)] for one in found])
    assert (made.objective.regions == (sure >= 50)).all() and made.objective.regions.any()


def test_later_banks_have_the_images_on_which_labels_last(tmp_path: Path) -> None:
    """The teacher labels, so its labels change where it has moved."""
    surveyed(tmp_path)
    before = shares_of(start_network(SHARP)).argmax(1)
    made = built("dtst", SHARP)
    draws = torch.Generator().manual_seed(1)
    for weight in made.teacher.classifier.parameters():
        weight.data += weight.data.std() * torch.randn(weight.shape, generator=draws)
    store = LabelStore(tmp_path / "round-2", 5, SIZE, "me")
    made.objective.begin_round(2, IMAGES, store)
    found = np.stack([store.read(k).numpy() for k in range(5)])
    after = shares_of(made.teacher).argmax(1)
    assert (found == after).all() and 0.05 < (after != before).mean() < 0.95
    kept = np.zeros((5, C), bool)
    for c in range(C):
        own = [
            ((a == c) & (b == c)).sum() / max(1, ((a == c) | (b == c)).sum())
            for a, b in zip(after, before, strict=True)
        ]
        some = sorted(x for x in own if x > 0)
        bound = some[round(0.5 * len(some))] if some else 0
        kept[:, c] = [x >= bound and (a == c).sum() >= 50 for x, a in zip(own, after, strict=True)]
    assert (made.objective.regions == kept).all()
    assert 1 < kept.sum() < (np.stack([[(a == c).any() for c in range(C)] for a in after])).sum()


def test_agreements_by_hand() -> None:
    labels, before = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 1, 1]])
    found = agreements(labels, before, 3)
    assert found.tolist() == pytest.approx([1 / 2, 2 / 3, 0])
    table = np.array([[0.9, 0.0], [0.5, 0.0], [0.7, 0.0], [0.0, 0.0]])
    assert agreed_regions(table, 0.5).tolist() == [[1, 1], [0, 1], [0, 1], [0, 1]]
    assert agreed_regions(table, 1.0)[:, 0].tolist() == [1, 1, 1, 0]


def test_rare_classes_are_those_with_fewest_pixels_that_have_a_region() -> None:
    regions = np.array([[1, 1, 0, 1, 1], [1, 0, 0, 0, 1]], bool)
    pixels = np.array([900, 30, 5, 40, 20])
    assert rare_classes(regions, pixels, 0.4).tolist() == [1, 4]
    assert rare_classes(regions, pixels, 0.01).tolist() == [4]
    assert rare_classes(regions, pixels, 1.0).tolist() == [0, 1, 3, 4]
    assert round(0.42 * 19) == 8


class Donor:
    """An image whose pixels tell their place."""

    def __len__(self) -> int:
        return 2

    def image(self, index: int) -> Values:
        rows, columns = np.mgrid[:24, :32]
        return np.stack([rows, columns, np.full_like(rows, 100 + index)], 2).astype(np.uint8)


def bank(labels: Values, **own: Any) -> RegionBank:
    store: Any = SimpleNamespace(read=lambda index: torch.from_numpy(labels[index]))
    regions = np.array([[1, 0, 0], [1, 1, 0]], bool)
    given = {"least": 10, "scale": 1.0} | own
    return RegionBank(TargetImages(Donor(), CPU), store, regions, np.array([0, 1]), **given)


def two_parts() -> Values:
    """Class 1 in the second image: a square, a corner next to it, and five pixels apart."""
    labels = np.full((2, 24, 32), 128 + 1, np.uint8)
    labels[1, 2:5, 3:7] = 1
    labels[1, 5, 7] = 1
    labels[1, 20, 20:23] = 1
    labels[:, 10:14, 10:14] = 0
    return labels


def test_a_region_is_pasted_with_its_label() -> None:
    """Corners join pixels; a part of 3 pixels is below two fifths of 10."""
    image = torch.full((3, 16, 16), 0.9)
    pasted, labels = bank(two_parts()).paste(
        image, np.array([0.0, 1.0, 1.0]), np.random.default_rng(0)
    )
    there = (labels == 1).nonzero()
    assert len(there) == 13 and set(labels.unique().tolist()) == {1, 255}
    top, left = there.amin(0).tolist()
    for y, x in there.tolist():
        own = (255 * pasted[:, y, x]).round().int().tolist()
        assert own == [2 + y - top, 3 + x - left, 101]
    assert torch.equal(pasted[:, labels == 255], image[:, labels == 255])
    assert float(image.min()) > 0.89


def test_a_region_is_enlarged_by_its_scale() -> None:
    image = torch.zeros(3, 64, 64)
    sizes = []
    for seed in range(30):
        _, labels = bank(two_parts(), scale=3.0).paste(
            image, np.array([1.0, 0.0, 0.0]), np.random.default_rng(seed)
        )
        there = (labels == 0).nonzero()
        high, wide = (there.amax(0) - there.amin(0) + 1).tolist()
        assert high == wide and len(there) == high * wide
        sizes.append(high)
    assert min(sizes) < 6 and 10 < max(sizes) <= 12


def test_classes_are_drawn_by_their_chances_and_images_alike() -> None:
    found, donors = [], []
    for seed in range(200):
        drawn = bank(two_parts()).drawn(np.array([0.75, 0.25, 9.0]), np.random.default_rng(seed))
        assert drawn
        donor, mask, chosen = drawn
        found.append(chosen)
        donors.append(round(255 * float(donor[2, 0, 0])))
        assert mask.sum() == (two_parts()[donors[-1] - 100] == chosen).sum()
    assert 0.65 < found.count(0) / 200 < 0.85
    of_zero = [d for c, d in zip(found, donors, strict=True) if c == 0]
    assert 0.35 < of_zero.count(100) / len(of_zero) < 0.65
    assert all(d == 101 for c, d in zip(found, donors, strict=True) if c == 1)


def test_without_a_chance_nothing_is_pasted() -> None:
    image = torch.rand(3, 16, 16)
    pasted, labels = bank(two_parts()).paste(image, np.zeros(3), np.random.default_rng(0))
    assert torch.equal(pasted, image) and (labels == 255).all()


def test_a_part_needs_a_free_place() -> None:
    draws = np.random.default_rng(0)
    filled = np.zeros((8, 8), bool)
    assert free_place(filled, (8, 3), draws) is None
    places = {free_place(filled, (6, 5), draws) for _ in range(200)}
    assert places == {(top, left) for top in range(2) for left in range(3)}
    filled[:, 4:] = True
    assert free_place(filled, (2, 4), draws) is None
    assert free_place(filled, (2, 2), draws) in {(top, left) for top in range(6) for left in (0, 1)}


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(("at", "together"), [(2, 1), (4, 2), (8, 1)])
def test_a_killed_pass_ends_with_the_same_bank(
    number: int, at: int, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TargetImages, "size_of_batch", lambda _: together)
    surveyed(tmp_path)
    whole, labels = surveyed(tmp_path, number) if number == 2 else surveyed(tmp_path / "b")
    monkeypatch.setattr(offline_pass, "SAVE_S", 0.0)
    seen = SimpleNamespace(images=0)

    killed_images = killing(seen, at)
    folder = tmp_path / "killed"
    if number == 2:
        surveyed(folder)
    if at <= (10 if number == 1 else 5):
        with pytest.raises(Killed):
            surveyed(folder, number, killed_images(Pictures(), CPU))
        seen.images = 100
    again, found = surveyed(folder, number, killed_images(Pictures(), CPU))
    assert (found == labels).all()
    for name, value in whole.objective.state_dict().items():
        if name != "scores":
            assert torch.equal(again.objective.state_dict()[name], value), name
    # A complete pass is not made again.
    seen.images = 200
    third, _ = surveyed(folder, number, killed_images(Pictures(), CPU))
    assert seen.images == 200
    assert (third.objective.regions == whole.objective.regions).all()
