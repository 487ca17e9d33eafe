"""MOCM: what is banked, what is dropped, what lies on top."""

import torch

from stvm.method.patches import PatchBank


def bank(number: int = 10, order: str = "large_first", cover: float = 1.0) -> PatchBank:
    return PatchBank(4, 2, 0.8, number, "class", order, cover, torch.Generator().manual_seed(0))


def squares(value: float) -> tuple[torch.Tensor, ...]:
    """Class 1 covers rows and columns 0..5, class 3 the rest."""
    labels = torch.full((1, 8, 8), 3)
    labels[0, :6, :6] = 1
    images = torch.full((1, 3, 8, 8), value)
    return images, labels, torch.full((1, 8, 8), value), torch.zeros(1, 8, 8)


def corner(value: float) -> tuple[torch.Tensor, ...]:
    """Class 2 covers rows and columns 0..1, class 3 the rest."""
    images, labels, reliability, distances = squares(value)
    labels[:] = 3
    labels[0, :2, :2] = 2
    return images, labels, reliability, distances


def test_the_mean_distance_decides_and_not_that_of_single_pixels() -> None:
    images, labels, reliability, distances = squares(0.5)
    distances[0, :3, :6] = 1.5
    near = bank()
    near.store(images, labels, reliability, distances)
    assert [len(b) for b in near.buffers] == [0, 1, 0, 1]
    distances[0, :4, :6] = 1.5
    far = bank()
    far.store(images, labels, reliability, distances)
    assert [len(b) for b in far.buffers] == [0, 0, 0, 1]


def test_the_oldest_patch_is_dropped_first() -> None:
    kept = bank()
    for value in (0.1, 0.2, 0.3):
        kept.store(*squares(value))
    assert [round(float(p.reliability[0, 0]), 1) for p in kept.buffers[1]] == [0.2, 0.3]


def test_as_many_classes_are_pasted_as_asked_for() -> None:
    for number in (1, 2, 3):
        filled = bank(number)
        filled.store(*squares(0.5))
        filled.store(*corner(0.5))
        assert len({label for label, _ in filled._draw()}) == number


def test_small_patches_lie_on_top_of_large_ones() -> None:
    filled = bank()
    filled.store(*squares(0.5))
    filled.store(*corner(0.7))
    blank = torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long), torch.zeros(1, 8, 8)
    for _ in range(20):
        _, labels, weights = filled.paste(*blank)
        assert (labels[0, :2, :2] == 2).all() and (weights[0, :2, :2] == 0.7).all()
        assert (labels[0, 2:6, 2:6] == 1).all() or (labels[0, 2:6, 2:6] == 3).all()


def test_patches_that_cover_too_much_are_never_banked() -> None:
    small_only = bank(cover=0.1)
    small_only.store(*squares(0.5))
    small_only.store(*corner(0.5))
    assert [len(b) for b in small_only.buffers] == [0, 0, 1, 0]
