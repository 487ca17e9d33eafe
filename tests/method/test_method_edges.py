"""The parts of the method at their edges: single pixels, ties, borders of ranges, other devices."""

import math
from dataclasses import FrozenInstanceError

import pytest
import torch

from stvm.method.mean_teacher import Labeller
from stvm.method.patches import PatchBank
from stvm.method.photometric import PhotometricAugmentation
from stvm.method.proxy_loss import balanced_sample
from stvm.method.regions import region_statistics
from stvm.method.thresholds import ClassThresholds, class_quantiles, doubt_of, most_confident
from stvm.networks import SegmentationNetwork, build_network
from stvm.networks.forward_mode import ForwardMode, Pass
from stvm.settings import ComputeSettings
from stvm.training.builder import build_adaptation
from tests.helpers.tiny_settings import tiny

STEP = 2.0**-24
"""Of float32 below 1."""
META = torch.device("meta")


def source() -> SegmentationNetwork:
    return build_network("small_deeplab", 16, 5)


def test_quantiles_of_one_pixel_of_absent_classes_and_between_the_two_largest() -> None:
    one = class_quantiles(torch.tensor([0.5]), torch.tensor([0]), 3, 0.8)
    assert one[0] == 0.5 and one[1:].isnan().all()
    # Position 0.8 x 2 = 1.6 of 1, 2, 4: 2 + 0.6 x 2.
    values, labels = torch.tensor([4.0, 9.0, 1.0, 2.0]), torch.tensor([1, 0, 1, 1])
    found = class_quantiles(values, labels, 3, 0.8)
    assert found[:2].tolist() == pytest.approx([9.0, 3.2]) and found[2].isnan()


@pytest.mark.parametrize(("steps", "by_share"), [(24, True), (16, True), (12, False)])
def test_shares_decide_until_fewer_than_16_steps_are_left(steps: int, by_share: bool) -> None:
    """Share and doubt are made to contradict each other, so that it is seen which decides."""
    thresholds = ClassThresholds(1)
    thresholds.values = torch.tensor([1 - steps * STEP])
    thresholds.doubts = torch.tensor([-1.0])
    surer, labels = torch.full((1, 1, 1), 1 - (steps - 1) * STEP), torch.zeros(1, 1, 1).long()
    assert bool(thresholds.select(surer, labels, torch.zeros(1, 1, 1))) == by_share
    # The middle one of three is the limit of the most confident half, and belongs to it.
    shares = 1 - STEP * torch.tensor([[[steps + 1, steps, steps - 1.0]]])
    mask = most_confident(shares, torch.zeros(1, 1, 3).long(), 1, 0.5, "class", shares.log())
    assert mask.tolist() == [[[not by_share, True, by_share]]]


def test_doubt_that_is_not_given_is_that_of_the_share() -> None:
    assert float(doubt_of(torch.tensor(0.75))) == pytest.approx(math.log(0.25))
    thresholds, labels = ClassThresholds(1, q_m=0.25, momentum=0.0), torch.zeros(1, 1, 9).long()
    # Position 0.25 x 8 = 2 of the doubts of 1 to 9 steps: below it lie the two surest.
    shares = 1 - STEP * torch.arange(1.0, 10.0).view(1, 1, 9)
    thresholds.update(shares, labels)
    assert thresholds.select(shares, labels).tolist() == [[[True] * 2 + [False] * 7]]


def test_a_region_of_one_pixel_has_its_distance_and_its_place() -> None:
    regions = torch.full((1, 3, 4), 1)
    regions[0, 0, 0] = 0
    distances = torch.full((1, 3, 4), 2.0)
    distances[0, 0, 0] = 0.5
    means, boxes = region_statistics(regions, distances, 2)
    assert means.tolist() == [0.5, 2.0]
    assert boxes.tolist() == [[0, 0, 0, 0, 1], [0, 2, 0, 3, 11]]


def filled(on_cpu: bool, cover: float = 36 / 64) -> PatchBank:
    """Class 1 covers rows and columns 0..5 of 8, class 2 the rest of 28 pixels."""
    made = PatchBank(3, buffer_size=2, classes_per_image=2, max_cover=cover, on_cpu=on_cpu)
    labels = torch.full((1, 8, 8), 2)
    labels[0, :6, :6] = 1
    assert made.pasted == 0
    made.store(torch.rand(1, 3, 8, 8), labels, torch.rand(1, 8, 8), torch.zeros(1, 8, 8))
    return made


def test_a_patch_of_just_the_largest_size_is_banked_in_its_own_box() -> None:
    made = filled(False)
    assert [len(buffer) for buffer in made.patches] == [0, 1, 1]
    patch = made.patches[1][0]
    assert patch.mask.shape == (6, 6) and patch.image.shape == (3, 6, 6) and patch.area == 36
    assert [len(buffer) for buffer in filled(False, 35 / 64).patches] == [0, 0, 1]


@pytest.mark.parametrize(("on_cpu", "expected"), [(True, "cpu"), (False, "meta")])
def test_patches_come_back_to_the_device_of_the_images_or_to_the_cpu(
    on_cpu: bool, expected: str
) -> None:
    """The device `meta` stands for a GPU: it holds shapes and no values."""
    state = filled(on_cpu).state_dict()
    other = filled(on_cpu).to(META)
    other.load_state_dict(state)
    patch = other.patches[1][0]
    places = {t.device.type for t in (patch.image, patch.mask, patch.reliability)}
    assert places == {expected}


def test_a_sample_of_a_balance_has_no_pixel_where_the_mask_has_none() -> None:
    generator = torch.Generator().manual_seed(0)
    empty, labels = torch.zeros(1, 2, 2, dtype=torch.bool), torch.zeros(1, 2, 2).long()
    for balance in ("rarest", "repeat"):
        found = balanced_sample(empty, labels, 3, 8, balance, generator)  # type: ignore[arg-type]
        assert [len(x) for x in found] == [0, 0, 0]


def test_what_labels_and_measures_keeps_no_graph() -> None:
    built = build_adaptation(tiny(mt=False, labeller="student"), source(), 5)
    labels, confidence, doubt, features = built.step.label(torch.rand(1, 3, 32, 32))
    assert built.metric and any(p.requires_grad for p in built.student.parameters())
    distances = built.metric.distances(features, labels)
    assert not any(t.requires_grad for t in (confidence, doubt, features, distances))


@pytest.mark.parametrize("track", [True, False])
def test_a_network_whose_statistics_are_followed_by_hooks_is_not_compiled(track: bool) -> None:
    asked: list[bool] = []

    class Watched(ForwardMode):
        def wrap(self, function: Pass, compiled: bool = True) -> Pass:
            asked.append(compiled)
            return function

    Labeller(source(), "eval", track, Watched(ComputeSettings()))
    assert asked == [not track] * 2


@pytest.mark.slow
def test_a_teacher_goes_on_from_its_own_weights_and_not_from_the_source() -> None:
    first, second = (build_adaptation(tiny(), source(), 5) for _ in range(2))
    with torch.no_grad():
        for weights in first.teacher.parameters():
            weights.add_(0.5)
    second.load_state_dict(first.state_dict())
    ours, theirs = second.teacher.state_dict(), first.teacher.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    alone = build_adaptation(tiny(mt=False), source(), 5)
    assert alone.state_dict()["teacher"] is None
    alone.load_state_dict(alone.state_dict())


def test_noise_never_leaves_the_range_of_images() -> None:
    """A blur's weights sum to 1 but for rounding, which white shows."""
    torch.manual_seed(0)
    always = PhotometricAugmentation(1.0, probability=1.0, blur_probability=1.0)
    noisy = always(torch.ones(64, 3, 8, 8))
    assert float(noisy.max()) == 1.0 and float(noisy.min()) >= 0.0


def test_a_probability_of_0_is_never_even_for_the_least_draw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = torch.rand(2, 3, 8, 8)
    monkeypatch.setattr(torch, "rand", torch.zeros)
    never = PhotometricAugmentation(1.0, probability=0.0, blur_probability=0.0)
    seldom = PhotometricAugmentation(1.0, probability=0.1, blur_probability=0.0)
    assert torch.equal(never(images), images) and not torch.equal(seldom(images), images)


def test_what_a_step_reads_cannot_be_changed() -> None:
    report = build_adaptation(tiny(), source(), 5).step(torch.rand(2, 3, 32, 32), 1)
    patch = filled(False).patches[1][0]
    for record, name in ((report, "loss"), (patch, "area")):
        with pytest.raises(FrozenInstanceError):
            setattr(record, name, 0)
