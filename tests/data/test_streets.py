"""The embedded benchmark: deterministic, complete, and labelled exactly."""

import numpy as np
import pytest

from stvm.data.cityscapes import CITYSCAPES, PALETTE
from stvm.data.streets import SOURCE_STYLE, TARGET_STYLE, Style, interpolate, render_scene


@pytest.mark.parametrize("style", [SOURCE_STYLE, TARGET_STYLE], ids=["source", "target"])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(style: Style) -> None:
    image, label = render_scene((1, 2, 3), style)
    again, label_again = render_scene((1, 2, 3), style)
    other, _ = render_scene((1, 2, 4), style)
    assert image.shape == (64, 128, 3) and image.dtype == np.uint8
    assert label.shape == (64, 128) and label.dtype == np.uint8
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(label, label_again)
    assert (image != other).any()


@pytest.mark.slow
@pytest.mark.parametrize("style", [SOURCE_STYLE, TARGET_STYLE], ids=["source", "target"])
def test_each_of_the_19_classes_is_in_15_per_cent_of_the_images(style: Style) -> None:
    labels = [render_scene(seed, style)[1] for seed in range(200)]
    shares = [np.mean([(label == i).any() for label in labels]) for i in range(len(CITYSCAPES))]
    assert len(CITYSCAPES) == len(PALETTE) == 19
    assert max(label.max() for label in labels) == 18
    assert min(shares) >= 0.15, dict(zip(CITYSCAPES, shares, strict=True))


def test_paint_follows_the_label_where_nothing_disturbs_it() -> None:
    plain = interpolate(SOURCE_STYLE, SOURCE_STYLE, 0.0)
    calm = Style(
        **{
            **{name: getattr(plain, name) for name in plain.__dataclass_fields__},
            "variety": 0.0,
            "texture": 0.0,
            "light": (1.0, 1.0),
            "haze": (0.0, 0.0),
            "noise": 0.0,
            "blur": (0.0, 0.0),
        }
    )
    image, label = render_scene(5, calm)
    sky = image[label == CITYSCAPES.index("sky")]
    np.testing.assert_allclose(sky, np.tile(np.array(calm.paint[10]) * 255, (len(sky), 1)), atol=1)


def test_interpolate_meets_both_ends() -> None:
    assert interpolate(SOURCE_STYLE, TARGET_STYLE, 0.0) == SOURCE_STYLE
    assert interpolate(SOURCE_STYLE, TARGET_STYLE, 1.0) == TARGET_STYLE
    half = interpolate(SOURCE_STYLE, TARGET_STYLE, 0.5)
    assert half.noise == pytest.approx((SOURCE_STYLE.noise + TARGET_STYLE.noise) / 2)
