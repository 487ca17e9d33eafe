"""Passes that a trial does with code of others, tried before anything is trained."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stvm.errors import StvmError
from stvm.source_model.loading import new_network
from stvm.trial.inputs import check_inputs
from stvm.trial.tried_passes import passes_of, try_shapes
from tests.helpers.any_network import IN_BLOCKS, make_own
from tests.helpers.tiny_settings import tiny

OFF: dict[str, Any] = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
FITS = {"height": 64, "width": 128, "crop_height": 64, "crop_width": 64}
FITS |= {"source_crop_height": 32, "source_crop_width": 32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 80}, "1 image of 64x80 .*: try another height or width"),
        ({"label_views": "scales"}, "1 image of 48x48 .*: try another crop size, label_scale or"),
        ({"label_scale": 1.25}, "1 image of 80x80 .*: try another crop size, label_scale or"),
        ({"crop_width": 48}, "2 crops of 64x48 .*: try another batch or crop size"),
        ({"source_crop_width": 40}, "crops of 32x40 .*: try another source_batch or crop size"),
        ({"multi_scale": True, "width": 160}, "image of 48x120 .*: .* leave out multi_scale"),
        ({"source_width": 144, **OFF}, "image of 64x144 .*: try another source_height or"),
    ],
)
def test_each_size_that_a_trial_passes_is_tried_first(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    network = make_own(tmp_path, IN_BLOCKS)
    assert check_inputs([tiny(network=network, **FITS)]) == []
    with pytest.raises(StvmError, match=message) as caught:
        check_inputs([tiny(network=network, **(FITS | changes))])
    assert "no multiple of 32" in str(caught.value) and "\n" not in str(caught.value)


def test_every_trial_of_a_list_is_tried_and_not_only_one_of_its_data(tmp_path: Path) -> None:
    odd = tiny(network=make_own(tmp_path, IN_BLOCKS), **(FITS | {"crop_width": 48}))
    source = odd.replace(**OFF)
    assert check_inputs([source]) == []
    for trials in ([source, odd], [odd, source]):
        with pytest.raises(StvmError, match="2 crops of 64x48"):
            check_inputs(trials)


def test_networks_whose_needs_are_known_are_not_tried() -> None:
    assert passes_of(tiny()) == ()


def test_training_is_tried_with_the_images_that_pass_at_once() -> None:
    sizes = {"crop_height": 24, "crop_width": 40, "source_batch": 12, "source_accumulate": 3}
    settings = tiny(network="timm:test_resnet", batch=8, accumulate=4, **sizes)
    trained = {(one.images, one.size) for one in passes_of(settings) if one.trains}
    assert trained == {(2, (24, 40)), (4, settings.source_crop())}
    assert passes_of(tiny(batch=8, accumulate=4)) == ()


def test_the_first_image_of_each_shape_is_tried_and_named(tmp_path: Path) -> None:
    network = new_network(tiny(network=make_own(tmp_path, IN_BLOCKS)))
    seen: list[Any] = []
    network.features.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-2:]))
    sizes = {"a": (64, 48), "b": (128, 48), "c": (64, 48), "odd": (80, 48), "odder": (80, 48)}
    for name, size in sizes.items():
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    paths = [tmp_path / f"{name}.png" for name in sizes]

    def taller(size: tuple[int, int]) -> tuple[int, int]:
        return size[0] + 1, size[1]

    try_shapes(network, taller, paths[:3])
    assert seen == [(49, 64), (49, 128)]
    with pytest.raises(StvmError, match=r"1 image of 49x80 .* of the shape of .*odd\.png$"):
        try_shapes(network, taller, paths)
