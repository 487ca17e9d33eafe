"""Pseudo-labels averaged over views: their confidence and doubt, by a slow average in float64."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import stvm
from stvm.method.label_views import Views, average_views
from stvm.networks import SegmentationNetwork, build_network


def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    made = build_network("small_deeplab", 8, 4).double().eval()
    for parameter in made.classifier.parameters():
        parameter.data *= 30
    return made


def shares(made: SegmentationNetwork, seen: Tensor) -> Tensor:
    """At 32x48, from a view of any size."""
    return F.interpolate(made.logits(seen), (32, 48), mode="bilinear").softmax(1)


@torch.no_grad()
@pytest.mark.parametrize(("views", "sizes"), [("mirrored", []), ("scales", [(24, 36), (40, 60)])])
def test_labels_confidence_and_doubt_are_those_of_the_mean_over_the_views(
    views: str, sizes: list[tuple[int, int]]
) -> None:
    made, images = network(), torch.rand(2, 3, 32, 48, dtype=torch.double)
    seen = [images, *(F.interpolate(images, size, mode="bilinear") for size in sizes)]
    each = [shares(made, view) for view in seen]
    each += [shares(made, view.flip(3)).flip(3) for view in seen]
    confidence, labels = (sum(each) / len(each)).max(1)  # type: ignore[union-attr]
    found = stvm.Labeller(made, views=views)(images)  # type: ignore[arg-type]
    assert torch.equal(found[0], labels) and len(labels.unique()) > 1
    torch.testing.assert_close(found[1], confidence)
    torch.testing.assert_close(found[2], torch.log1p(-confidence))
    assert torch.equal(found[3], stvm.Labeller(made)(images)[3])
    assert not torch.allclose(found[1], stvm.Labeller(made)(images)[1])


@torch.no_grad()
def test_the_doubt_is_exact_where_the_confidence_rounds_to_one() -> None:
    made, images = network().float(), torch.rand(1, 3, 32, 48)
    for parameter in made.classifier.parameters():
        parameter.data *= 20
    sure = copy.deepcopy(made).double()
    _, confidence, doubt, _ = stvm.Labeller(made, views="mirrored")(images)
    expected = stvm.Labeller(sure, views="mirrored")(images.double())[2]
    rounded = confidence == 1
    assert rounded.any() and doubt[rounded].isfinite().all()
    torch.testing.assert_close(doubt[rounded].double(), expected[rounded], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("track", [False, True])
def test_only_the_image_as_it_is_moves_statistics(track: bool) -> None:
    one, two = network(), network()
    images = torch.rand(2, 3, 32, 48, dtype=torch.double)
    for bn in ("eval", "batch"):
        stvm.Labeller(one, bn, track)(images)  # type: ignore[arg-type]
        stvm.Labeller(two, bn, track, views="scales")(images)  # type: ignore[arg-type]
    states = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in states)


def test_an_unknown_view_is_one_line() -> None:
    with pytest.raises(stvm.StvmError, match="did you mean 'mirrored'"):
        stvm.Labeller(network(), views="mirror")  # type: ignore[arg-type]


@torch.no_grad()
def test_an_enlarged_image_gives_labels_of_the_images_size_and_larger_features() -> None:
    made, images = network(), torch.rand(2, 3, 32, 48, dtype=torch.double)
    larger = F.interpolate(images, (40, 60), mode="bilinear")
    confidence, labels = shares(made, larger).max(1)
    found = stvm.Labeller(made, scale=1.25)(images)
    assert torch.equal(found[0], labels) and found[0].shape == (2, 32, 48)
    torch.testing.assert_close(found[1], confidence)
    torch.testing.assert_close(found[3], made.extract(larger))


@torch.no_grad()
def test_views_of_an_enlarged_image_are_views_at_its_size() -> None:
    made, images = network(), torch.rand(2, 3, 32, 48, dtype=torch.double)
    larger = F.interpolate(images, (40, 60), mode="bilinear")
    each = [shares(made, larger), shares(made, larger.flip(3)).flip(3)]
    found = stvm.Labeller(made, views="mirrored", scale=1.25)(images)
    torch.testing.assert_close(found[1], (sum(each) / 2).amax(1))  # type: ignore[union-attr]


@torch.no_grad()
@pytest.mark.parametrize("views", ["single", "mirrored", "scales"])
def test_the_averaged_shares_of_a_pixel_add_up_to_one(views: Views) -> None:
    made, images = network(), torch.rand(2, 3, 32, 48, dtype=torch.double)
    found = average_views(made(images), images, views, made.logits)
    torch.testing.assert_close(found.logsumexp(1), torch.zeros(2, 32, 48, dtype=torch.double))
    if views == "single":
        torch.testing.assert_close(found.exp(), shares(made, images))


@pytest.mark.parametrize("scale", [0.0, -1.0, 5.0])
def test_a_scale_out_of_range_is_one_line(scale: float) -> None:
    with pytest.raises(stvm.StvmError, match="give a number above 0, at most 4"):
        stvm.Labeller(network(), scale=scale)
