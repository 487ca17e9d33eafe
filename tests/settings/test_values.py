"""Defaults and presets equal the values of the paper, of the field's codes and of the docs."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from stvm.errors import StvmError
from stvm.evaluation.label_free import SCORED_IMAGES, TEMPERATURE, WATCHED_IMAGES
from stvm.search.space import find_parameters, searchable
from stvm.settings import Settings, field_of, group_of
from stvm.settings.presets import PRESETS, find_preset
from stvm.settings.protocols import PROTOCOLS, Protocol

SECTION_4B: dict[str, Any] = {
    **{"batch": 2, "lr": 2.5e-4, "head_lr_factor": 10.0, "momentum": 0.9, "weight_decay": 5e-4},
    **{"metric_lr": 3e-4, "poly_power": 0.9, "ema_momentum": 1e-3, "ema_period": 100},
    **{"n_f": 128, "temperature": 0.25, "q_m": 0.2, "buffer_size": 50, "alpha": 2.0, "beta": 0.6},
    **{"tau_mocm": 0.8, "n_mocm": 10},
    **{"procedure": "adapt", "st": True, "aug": True, "mt": True, "mgs": True, "mocm": True},
}
"""Values of the paper; `n_mocm` is Table V's default."""
CHOSEN: dict[str, Any] = {
    **{"threshold_momentum": 0.9, "pixels_per_class": 64, "evaluated": "student"},
    **{"aug_strength": 0.25, "aug_probability": 0.8, "blur_probability": 0.5},
    **{"pseudo_label_share": 1.0, "patch_max_cover": 1.0},
}
"""Values for points that the paper leaves open; they are bold in `docs/paper.md`."""
SCENARIO: dict[str, Any] = {
    **{"height": 512, "width": 1024, "crop_height": 512, "crop_width": 512},
    **{"iterations": 80_000, "protocol": "adaptsegnet", "multi_scale": True},
    **{"source_iterations": 90_000, "source_batch": 2, "source_lr": 2.5e-4},
    **{"source_head_lr_factor": 10.0},
}
GTA5 = {"source_height": 720, "source_width": 1280, "eval_split": "val"}
SYNTHIA = {"source_height": 760, "source_width": 1280, "eval_split": "val"}
"""Sizes of AdaptSegNet's lineage; the target's are the paper's."""
DEMO: dict[str, Any] = {"batch": 4, "lr": 1.5e-3, "metric_lr": 1e-3, "n_f": 64}
DEMO |= {"iterations": 800, "n_mocm": 3, "tau_mocm": 0.6, "gap": 0.85, "source_iterations": 3500}
DEMO |= {"source_batch": 8, "source_lr": 0.02, "source_head_lr_factor": 1.0, "head_lr_factor": 10.0}
REAL = DEMO | {"lr": 7.5e-4, "tau_mocm": 0.8, "patch_max_cover": 0.1, "gap": 1.0}
REAL |= {"height": 88, "width": 120, "crop_height": 64, "crop_width": 96}
REAL |= {"source_rare": 0.5, "source_scale": 0.5}

OWN: dict[str, Any] = {
    **{"optimizer": "adamw", "lr": 5e-5, "head_lr_factor": 1.0, "batch": 2, "iterations": 150},
    **{"start_bn": 0.5, "student_bn": "frozen", "teacher_bn": "keep", "evaluated": "teacher"},
    **{"ema_momentum": 0.02, "ema_period": 1, "label_scale": 1.0, "loss_norm": "weights"},
    **{"n_f": 64, "metric_lr": 1e-2, "metric_floor": 8, "n_mocm": 5, "tau_mocm": 0.8},
    **{"patch_unit": "component", "patch_max_cover": 0.1},
}
"""Values that presets of public networks on real images share."""
PUBLIC = OWN | {"network": "espnetv2", "network_width": 2.0, "class_map": "camvid10"}
PUBLIC |= {"label_scale": 1.25, "source_optimizer": "adamw", "source_lr": 2e-4}
PUBLIC |= {"source_iterations": 300, "source_batch": 2, "source_balance": 0.5, "keep_model": True}
CARLA: dict[str, Any] = {
    **{"network": "espnetv2", "network_width": 1.0, "gap": 1.0, "keep_model": True},
    **{"source_init": "data/espnetv2/espnetv2_s_1.0_pascal_384x384.pth"},
    **{"source_optimizer": "adamw", "source_lr": 1e-3, "source_iterations": 3000},
    **{"source_batch": 4, "source_balance": 1.0, "source_augment": 0.5},
    **{"source_scale": 0.5, "source_rare": 0.5},
    **{"height": 176, "width": 240, "crop_height": 176, "crop_width": 240},
}
"""Values of the preset that trains its source model on CARLA."""
CLASSES_10 = "0:road,1:sidewalk,2:building,4:fence,5:pole,7:traffic sign,8:vegetation,10:sky,"
CLASSES_10 += "11:person,13:car"
KITTI_IDS = "0:road,1:sidewalk,2:building,4:fence,5:pole,6+7:traffic sign,8+9:vegetation,10:sky,"
KITTI_IDS += "11:person,13+14+15+16:car,3+12+17+18:-"
SIZES = {"cityscapes_camvid": (352, 480), "cityscapes_kitti": (256, 832)}
"""Height and width of images and crops, multiples of 16 close to those of the files."""

ROOTS = {
    **{
        f"camvid_{kind}": ("camvid_mixed/source", f"camvid_{kind}/target")
        for kind in ("fog", "low_light", "noise", "mixed")
    },
    **{"cityscapes_camvid": ("", "camvid"), "cityscapes_kitti": ("", "kitti")},
    "carla_camvid": ("carla", "camvid"),
    **{name: tuple(name.split("-")[:2]) for name in PRESETS if name.count("-") > 1},
}
"""Folders of the source and of the target below `data`."""


def expected_of(preset: str) -> dict[str, Any]:
    """Values that a preset must have."""
    if preset == "paper":
        size = {"height": 512, "width": 1024, "crop_height": 512, "crop_width": 512}
        return SECTION_4B | CHOSEN | size | {"iterations": 80_000}
    if preset == "demo":
        return DEMO
    if preset in SIZES:
        height, width = SIZES[preset]
        size = {"height": height, "width": width, "crop_height": height, "crop_width": width}
        return PUBLIC | size | {"classes": KITTI_IDS if "kitti" in preset else CLASSES_10}
    if preset == "own_images":
        return OWN
    if preset == "carla_camvid":
        return OWN | CARLA | {"classes": CLASSES_10}
    if preset.startswith("cam"):
        return REAL
    sizes = {"gta5": GTA5, "synthia": SYNTHIA, "cityscapes": {}}[preset.split("-")[0]]
    return SECTION_4B | CHOSEN | SCENARIO | sizes


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_hold_what_is_written_down(preset: str) -> None:
    roots = {"source_root": "a", "target_root": "b", "classes": "road,sky"}
    settings = PRESETS[preset].settings(**(roots if preset == "paper" else {})).flat()
    expected = expected_of(preset)
    assert {name: settings[name] for name in expected} == expected
    if preset in ROOTS:
        places = (settings["source_root"], settings["target_root"])
        assert places == tuple(place and f"data/{place}" for place in ROOTS[preset])


def test_presets_run_as_their_pages_say() -> None:
    """The demo's schedule is docs/paper.md's, its realisations those of docs/results.md."""
    demo = PRESETS["demo"].settings().flat()
    fast = {"ema_momentum": 0.003, "ema_period": 1, "evaluated": "teacher", "keep_model": True}
    assert {name: demo[name] for name in fast} == fast and PRESETS["demo"].tuned == (100, 101)
    for name, preset in PRESETS.items():
        roots = {"source_root": "a", "target_root": "b", "classes": "road,sky"}
        flat = preset.settings(**(roots if name == "paper" else {})).flat()
        assert preset.realisation == 0 and (name == "demo" or preset.tuned == ())
        if name.startswith("cam") or name == "carla_camvid":
            assert flat["classes"] == CLASSES_10 and flat["evaluated"] == "teacher"
        if name == "paper":
            assert flat["crop_height"] == 512 and flat["teacher_bn"] == "track"
        if "deeplab" in name:
            kept = {"keep_model": True, "workers": 4, "teacher_bn": "track"}
            assert {key: flat[key] for key in kept} == kept
    with pytest.raises(FrozenInstanceError):
        PRESETS["demo"].realisation = 1  # type: ignore[misc]
    with pytest.raises(StvmError, match="unknown preset 'dmeo': did you mean 'demo'"):
        find_preset("dmeo")
    assert find_preset("demo") is PRESETS["demo"]


def test_what_a_trial_is_watched_and_scored_on() -> None:
    """Recorded scores use 64 images and curves 8; densities have a temperature of 0.05."""
    assert (SCORED_IMAGES, WATCHED_IMAGES, TEMPERATURE) == (64, 8, 0.05)


def test_sentences_above_tables_say_sizes_scales_and_mirroring() -> None:
    square = Protocol("own", "", (96, 96), align_corners=True, scales=(1.0,), flip=False)
    assert square.resizes and Protocol("own", "", label_size=(9, 9)).resizes
    assert square.sentence(1, 2) == (
        "protocol own: images and labels of 96x96 (width x height), logits enlarged bilinearly, "
        "corners aligned"
    )
    shown = PROTOCOLS["dtst"].sentence(1, 2)
    assert "images of 1536x768, labels of 2048x1024" in shown
    assert "over scales 1 of the input; chosen" in square.multi_scale_sentence()
    views = PROTOCOLS["image"].multi_scale_sentence()
    assert "over scales 0.75, 1 and 1.25 of the input, each also mirrored; chosen" in views
    with pytest.raises(FrozenInstanceError):
        square.flip = True  # type: ignore[misc]


def test_defaults_are_the_papers_and_its_source_models_recipe() -> None:
    settings, expected = Settings().flat(), SECTION_4B | CHOSEN
    assert {name: settings[name] for name in expected} == expected
    assert (settings["iterations"], settings["crop_height"], settings["crop_width"]) == (
        1000,
        64,
        64,
    )


@pytest.mark.parametrize(
    ("name", "image", "label", "aligned", "scales"),
    [
        ("image", (96, 160), (96, 160), False, (0.75, 1.0, 1.25)),
        ("adaptsegnet", (512, 1024), (1024, 2048), True, (0.75, 1.0, 1.25)),
        ("maxsquare", (512, 1024), (512, 1024), True, (0.75, 1.0, 1.25)),
        ("daformer", (512, 1024), (1024, 2048), False, (0.75, 1.0, 1.25)),
        ("dtst", (768, 1536), (1024, 2048), True, (0.7, 1.0, 1.3)),
        ("dtst_synthia", (640, 1280), (1024, 2048), True, (0.7, 1.0, 1.3)),
    ],
)
def test_protocols_are_those_of_the_codes_they_are_named_after(
    name: str,
    image: tuple[int, int],
    label: tuple[int, int],
    aligned: bool,
    scales: tuple[float, ...],
) -> None:
    protocol = PROTOCOLS[name]
    assert protocol.sizes(96, 160) == (image, label)
    assert (protocol.align_corners, protocol.scales, protocol.flip) == (aligned, scales, True)


def test_no_protocol_is_left_out_above() -> None:
    named = {"image", "adaptsegnet", "maxsquare", "daformer", "dtst", "dtst_synthia"}
    assert set(PROTOCOLS) == named


@pytest.mark.parametrize(
    ("name", "grid", "low", "high", "log"),
    [
        ("n_f", (32, 64, 128, 256), 32, 256, False),
        ("temperature", (0.1, 0.25, 0.5, 1.0), 0.05, 1.0, True),
        ("q_m", (0.1, 0.2, 0.3, 0.4), 0.05, 0.5, True),
        ("alpha", (1, 2, 4, 8), 0.5, 8.0, True),
        ("beta", (0.5, 0.6, 0.7, 0.8), 0.3, 1.2, False),
        ("tau_mocm", (0.4, 0.6, 0.8, 1.0), 0.3, 1.2, False),
        ("n_mocm", (2, 5, 10, 15), 1, 15, True),
    ],
)
def test_grids_are_table_vs_and_ranges_hold_them(
    name: str, grid: tuple[float, ...], low: float, high: float, log: bool
) -> None:
    (found,) = find_parameters([name], Settings())
    assert (found.grid, found.low, found.high, found.log) == (grid, low, high, log)
    extra: Any = field_of(name).json_schema_extra
    assert tuple(extra["grid"]) == grid
    assert len([n for n in searchable() if group_of(n) != "objective"]) == 7
