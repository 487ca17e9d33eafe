"""MOCM: what is banked, what is dropped, what lies on top."""

from dataclasses import replace

import pytest
import torch

from stvm.method.patches import PatchBank, as_bytes, from_bytes


def bank(number: int = 10, order: str = "large_first", cover: float = 1.0) -> PatchBank:
    return PatchBank(4, buffer_size=2, classes_per_image=number, order=order, max_cover=cover)  # type: ignore[arg-type]


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
    assert [len(b) for b in near.patches] == [0, 1, 0, 1]
    distances[0, :4, :6] = 1.5
    far = bank()
    far.store(images, labels, reliability, distances)
    assert [len(b) for b in far.patches] == [0, 0, 0, 1]


def test_the_oldest_patch_is_dropped_first() -> None:
    kept = bank()
    for value in (0.1, 0.2, 0.3):
        kept.store(*squares(value))
    assert [round(float(p.reliability[0, 0]), 1) for p in kept.patches[1]] == [0.2, 0.3]


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
    assert [len(b) for b in small_only.patches] == [0, 0, 1, 0]


def clean(seed: int) -> torch.Tensor:
    """An image as the trainer makes it of uint8 pixels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 3, 8, 8), generator=generator).to(torch.uint8).float() / 255


def test_all_256_values_of_a_clean_pixel_come_back_to_the_bit() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    codes, exact = as_bytes(values.float() / 255)
    assert torch.equal(codes, values) and bool(exact)
    assert torch.equal(from_bytes(codes), values.float() / 255)


@pytest.mark.parametrize("value", [0.5, 1.5, -0.1, float("nan"), float("inf")])
def test_pixels_that_no_byte_holds_are_noticed(value: float) -> None:
    assert not as_bytes(torch.tensor([0.0, value, 1.0]))[1]


def test_clean_patches_take_a_byte_a_channel_and_noisy_ones_stay_as_they_are() -> None:
    _, labels, reliability, distances = squares(0.5)
    noisy = torch.rand(1, 3, 8, 8)
    for images, kept_as in ((clean(0), torch.uint8), (noisy, torch.float32)):
        kept = bank()
        kept.store(images, labels, reliability, distances)
        for label in (1, 3):
            patch = kept.patches[label][0]
            assert patch.image.dtype == kept_as
            assert patch.reliability.dtype == torch.float32
            box = images[0][:, patch.top :, patch.left :]
            expected = box[:, : patch.mask.shape[0], : patch.mask.shape[1]]
            assert torch.equal(patch.pixels(), expected)


def test_what_is_pasted_does_not_depend_on_how_or_where_it_is_kept() -> None:
    """The old way, each patch as float32 beside the images, is what the others must equal."""
    pasted = []
    for as_floats, on_cpu in ((True, False), (False, False), (False, True)):
        kept = bank(number=3)
        kept.on_cpu = on_cpu
        for seed in range(3):
            _, labels, reliability, distances = squares(0.1 * seed)
            kept.store(clean(seed), labels, reliability, distances)
            kept.store(clean(seed + 9), *corner(0.2)[1:])
        if as_floats:
            for buffer in kept.patches:
                patches = [replace(patch, image=patch.pixels()) for patch in buffer]
                buffer.clear()
                buffer.extend(patches)
        pasted.append(
            kept.paste(
                torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)),
                torch.zeros(4, 8, 8, dtype=torch.long),
                torch.zeros(4, 8, 8),
            )
        )
    for other in pasted[1:]:
        assert all(torch.equal(a, b) for a, b in zip(pasted[0], other, strict=True))


def test_kept_states_hold_bytes_too_and_states_of_floats_still_load() -> None:
    one = bank()
    _, labels, reliability, distances = squares(0.5)
    one.store(clean(0), labels, reliability, distances)
    state = one.get_extra_state()
    assert state["buffers"][1][0]["image"].dtype == torch.uint8
    old = {**state, "buffers": [[dict(p) for p in b] for b in state["buffers"]]}
    for buffer in old["buffers"]:
        for patch in buffer:
            patch["image"] = patch["image"].float() / 255
    blank = torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long), torch.zeros(1, 8, 8)
    results = []
    for kept in (state, old):
        two = bank()
        two.set_extra_state(kept)
        results.append(two.paste(*blank))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_sums_of_regions_are_bincounts_in_deterministic_mode_too() -> None:
    groups, values = torch.randint(0, 7, (4096,)), torch.rand(4096)
    sums = values.new_zeros(7).index_add(0, groups, values)
    assert torch.equal(sums, torch.bincount(groups, weights=values, minlength=7))
