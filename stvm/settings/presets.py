"""Presets: named settings to start from. Two presets differ in settings alone."""

from dataclasses import dataclass
from typing import Any

from stvm.errors import unknown
from stvm.settings.settings import Settings


@dataclass(frozen=True)
class Preset:
    """Settings with a name.

    Attributes:
        about: description of one sentence.
        changes: values that differ from the defaults, by setting.
        tuned: realisations whose validation labels were used to choose the changes.
        realisation: realisation to use if none is asked for.
    """

    about: str
    changes: dict[str, Any]
    tuned: tuple[int, ...] = ()
    realisation: int = 0

    def settings(self, **changes: Any) -> Settings:
        """The settings with some of them changed, checked together.

        Raises:
            StvmError: an unknown name, a value out of range, or a missing value.
        """
        return Settings().replace_in_turn(self.changes, changes)


_SLOW_TEACHER: dict[str, Any] = {"teacher_bn": "track"}
"""The best choice for section IV-B's slow average, measured on validation images: docs/results.md,
"The mean teacher's schedule"."""

_PAPER: dict[str, Any] = _SLOW_TEACHER | {
    "iterations": 80_000,
    "dataset": "folder",
    "network": "deeplabv3_resnet50",
    "height": 512,
    "width": 1024,
    "crop_height": 512,
    "crop_width": 512,
}

_SCENARIO: dict[str, Any] = _SLOW_TEACHER | {
    "height": 512,
    "width": 1024,
    "crop_height": 512,
    "crop_width": 512,
    "iterations": 80_000,
    "source_iterations": 90_000,
    "source_batch": 2,
    "source_lr": 2.5e-4,
    "source_head_lr_factor": 10.0,
    "protocol": "adaptsegnet",
    "multi_scale": True,
    "keep_model": True,
    "workers": 4,
}
"""Values of section IV-B that are not defaults. The paper gives no number of iterations;
`docs/paper.md` says why this one."""

NETWORKS = {"deeplabv2": "deeplabv2_resnet101", "deeplabv3": "deeplabv3_resnet50"}
CITIES = ("rome", "rio", "tokyo", "taipei")

SCENARIOS: dict[str, dict[str, Any]] = {
    "gta5-cityscapes": {
        "dataset": "gta5_cityscapes",
        "source_root": "data/gta5",
        "target_root": "data/cityscapes",
        "source_height": 720,
        "source_width": 1280,
        "eval_split": "val",
    },
    "synthia-cityscapes": {
        "dataset": "synthia_cityscapes",
        "source_root": "data/synthia",
        "target_root": "data/cityscapes",
        "source_height": 760,
        "source_width": 1280,
        "eval_split": "val",
    },
    "cityscapes-crosscity": {
        "dataset": "cityscapes_crosscity",
        "source_root": "data/cityscapes",
        "target_root": "data/crosscity",
    },
}
"""The paper's three adaptations (section IV-A), Tables I to III."""


def scenario_preset(scenario: str, network: str, city: str = "") -> str:
    """Name of the preset of a scenario with a network."""
    return "-".join(part for part in (scenario, city, network) if part)


def _scenarios() -> "dict[str, Preset]":
    presets = {}
    for scenario, data in SCENARIOS.items():
        for city in CITIES if scenario == "cityscapes-crosscity" else ("",):
            for short, network in NETWORKS.items():
                presets[scenario_preset(scenario, short, city)] = Preset(
                    f"{scenario} {city} with {network}, all values of section IV-B.".replace(
                        "  ", " "
                    ),
                    _SCENARIO | data | {"network": network} | ({"city": city} if city else {}),
                )
    return presets


_DEMO: dict[str, Any] = {
    "iterations": 800,
    "batch": 4,
    "gap": 0.85,
    "lr": 1.5e-3,
    "metric_lr": 1e-3,
    "n_f": 64,
    "ema_momentum": 0.003,
    "ema_period": 1,
    "n_mocm": 3,
    "tau_mocm": 0.6,
    "evaluated": "teacher",
    "keep_model": True,
}

_COMMON10 = (
    "0:road,1:sidewalk,2:building,4:fence,5:pole,7:traffic sign,8:vegetation,10:sky,"
    "11:person,13:car"
)

_REAL: dict[str, Any] = _DEMO | {
    "dataset": "folder",
    "gap": 1.0,
    "classes": _COMMON10,
    "height": 88,
    "width": 120,
    "crop_height": 64,
    "crop_width": 96,
    "source_rare": 0.5,
    "source_scale": 0.5,
    "lr": 7.5e-4,
    "tau_mocm": 0.8,
    "patch_max_cover": 0.1,
}


_OWN_IMAGES: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 5e-5,
    "head_lr_factor": 1.0,
    "iterations": 150,
    "start_bn": 0.5,
    "student_bn": "frozen",
    "teacher_bn": "keep",
    "ema_momentum": 0.02,
    "ema_period": 1,
    "loss_norm": "weights",
    "n_f": 64,
    "metric_lr": 1e-2,
    "metric_floor": 8,
    "n_mocm": 5,
    "patch_unit": "component",
    "patch_max_cover": 0.1,
    "evaluated": "teacher",
}
"""Small public network and real images; the crop is the whole image. docs/results.md, "Real images
with a public model", says how the values were chosen."""

_PUBLIC_MODEL: dict[str, Any] = _OWN_IMAGES | {
    "dataset": "folder",
    "network": "espnetv2",
    "network_width": 2.0,
    "source_checkpoint": "data/espnetv2/espnetv2_s_2.0_city_1024x512.pth",
    "label_scale": 1.25,
    "keep_model": True,
    "source_optimizer": "adamw",
    "source_lr": 2e-4,
    "source_iterations": 300,
    "source_batch": 2,
    "source_balance": 0.5,
}
"""A public ESPNetv2, trained on Cityscapes, and real images; the source_ settings are the oracle's.
The network was trained on larger images than these, so it labels enlarged ones."""

_FROM_VOC: dict[str, Any] = _OWN_IMAGES | {
    "dataset": "folder",
    "gap": 1.0,
    "network": "espnetv2",
    "network_width": 1.0,
    "source_init": "data/espnetv2/espnetv2_s_1.0_pascal_384x384.pth",
    "keep_model": True,
    "source_optimizer": "adamw",
    "source_lr": 1e-3,
    "source_iterations": 3000,
    "source_batch": 4,
    "source_balance": 1.0,
    "source_augment": 0.5,
    "source_scale": 0.5,
    "source_rare": 0.5,
}
"""An ESPNetv2 whose source training starts from public weights of Pascal VOC."""

_KITTI10 = (
    "0:road,1:sidewalk,2:building,4:fence,5:pole,6+7:traffic sign,8+9:vegetation,10:sky,"
    "11:person,13+14+15+16:car,3+12+17+18:-"
)


def _of_size(height: int, width: int) -> dict[str, Any]:
    """Images of a size, and crops that are whole images."""
    return {"height": height, "width": width, "crop_height": height, "crop_width": width}


def _camvid(kind: str) -> Preset:
    """From CamVid's clean half to its corrupted half, as `stvm.data.corrupt` writes them.

    The clean half does not depend on the corruption, so all of them share one source model.
    """
    roots = {
        "source_root": "data/camvid_mixed/source",
        "target_root": f"data/camvid_{kind}/target",
    }
    return Preset(
        f"CamVid to CamVid, {kind.replace('_', ' ')}; run `python -m stvm.data.corrupt` first.",
        _REAL | roots,
    )


PRESETS = {
    "demo": Preset("Embedded benchmark on two cores in ten minutes.", _DEMO, (100, 101)),
    **{f"camvid_{kind}": _camvid(kind) for kind in ("fog", "low_light", "noise", "mixed")},
    "cityscapes_camvid": Preset(
        "Public ESPNetv2 of Cityscapes to CamVid, ten classes, in data/espnetv2 and data/camvid.",
        _PUBLIC_MODEL
        | _of_size(352, 480)
        | {"target_root": "data/camvid", "classes": _COMMON10, "class_map": "camvid10"}
        | {"detail_images": 40},
    ),
    "cityscapes_kitti": Preset(
        "Public ESPNetv2 of Cityscapes to KITTI, ten classes, in data/espnetv2 and data/kitti.",
        _PUBLIC_MODEL
        | _of_size(256, 832)
        | {"target_root": "data/kitti", "classes": _KITTI10, "class_map": "camvid10"},
    ),
    "carla_camvid": Preset(
        "CARLA to CamVid, ten shared classes, in data/carla, data/camvid and data/espnetv2.",
        _FROM_VOC
        | _of_size(176, 240)
        | {"source_root": "data/carla", "target_root": "data/camvid", "classes": _COMMON10},
    ),
    **_scenarios(),
    "own_images": Preset(
        "Public model and your own images without labels, for `python -m studies adapt`.",
        _OWN_IMAGES,
    ),
    "paper": Preset("All values of section IV-B; give your folders as settings.", _PAPER),
}


def find_preset(name: str) -> Preset:
    """The preset of this name.

    Raises:
        StvmError: an unknown name; the message proposes the nearest one.
    """
    if name in PRESETS:
        return PRESETS[name]
    raise unknown("preset", name, PRESETS)
