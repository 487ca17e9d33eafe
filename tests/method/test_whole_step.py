"""The whole adaptation against a twin written from the paper: every part, row and reading.

In float64, so that nothing hides behind rounding. No value is a default, and no two are alike.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stvm.data.streets.street_images import ArrayImages
from stvm.networks import SegmentationNetwork, build_network
from stvm.settings import MethodSettings, Settings, TrainingSettings
from stvm.training.adaptation import adapt
from tests.helpers.twin import Twin, crops

CLASSES = 4
BASE: dict[str, Any] = {
    **{"channels": 8, "n_f": 6, "temperature": 0.4, "q_m": 0.35, "alpha": 3.0, "beta": 1.7},
    **{"tau_mocm": 1.9, "n_mocm": 2, "buffer_size": 2, "threshold_momentum": 0.6},
    **{"pixels_per_class": 7, "ema_momentum": 0.2, "ema_period": 2, "patch_max_cover": 0.9},
    **{"aug_strength": 0.4, "aug_probability": 0.7, "blur_probability": 0.6},
    **{"seed": 5, "iterations": 3, "batch": 3, "crop_height": 16, "crop_width": 20},
    **{"lr": 0.02, "head_lr_factor": 4.0, "momentum": 0.8, "weight_decay": 0.01},
    **{"metric_lr": 0.03, "poly_power": 0.7},
}
ROWS: dict[str, dict[str, Any]] = {
    "ST": {"aug": False, "mt": False, "mgs": False, "mocm": False},
    "ST_Aug": {"mt": False, "mgs": False, "mocm": False},
    "ST_MT": {"mgs": False, "mocm": False},
    "STvM_Raw": {"mocm": False},
    "STvM": {},
}
SHORT = {"iterations": 2, "batch": 1}
"""Pixels at the rim come in equal pairs; here no limit of a share lies between two of a pair."""
SETTINGS: list[tuple[str, Any, dict[str, Any]]] = [
    ("aug", False, {}),
    ("mt", False, {}),
    ("mgs", False, {}),
    ("mocm", False, {}),
    ("metric_alongside", True, ROWS["ST_MT"]),
    ("pseudo_label_share", 0.57, SHORT),
    ("pseudo_label_by", "image", SHORT | {"pseudo_label_share": 0.5}),
    ("constant_weight", 0.3, {"mgs": False}),
    ("n_f", 5, {}),
    ("temperature", 0.9, {}),
    ("q_m", 0.6, {}),
    ("alpha", 1.5, {}),
    ("beta", 1.2, {}),
    ("tau_mocm", 2.4, {}),
    ("n_mocm", 3, {}),
    ("buffer_size", 1, {}),
    ("threshold_momentum", 0.2, {}),
    ("pixels_per_class", 2, {}),
    ("metric_balance", "repeat", {"pixels_per_class": 64}),
    ("metric_floor", 60, {"pixels_per_class": 64}),
    ("student_bn", "statistics", {}),
    ("student_bn", "frozen", {}),
    ("start_bn", 0.3, {}),
    ("start_bn", 1.0, {"student_bn": "frozen", "teacher_bn": "keep"}),
    ("start_bn", 0.6, ROWS["ST"]),
    ("start_bn", 0.4, {"student_bn": "share"}),
    ("student_bn", "share", {}),
    ("student_bn", "share", {"start_bn": 0.3}),
    ("student_bn", "share", {"start_bn": 0.3, "teacher_bn": "track"}),
    ("student_bn", "share", {"start_bn": 0.3, "teacher_bn": "track", "labeller_bn": "batch"}),
    ("student_bn", "share", {"start_bn": 0.6, "teacher_bn": "ema", "labeller_bn": "batch"}),
    ("student_bn", "share", {"start_bn": 0.6, "accumulate": 3}),
    ("student_bn", "share", {"start_bn": 0.6, **ROWS["ST"], "labeller": "student"}),
    ("labeller", "student", ROWS["ST"]),
    ("optimizer", "adamw", {}),
    ("labeller_bn", "batch", {}),
    ("labeller_bn", "batch", {"teacher_bn": "track"}),
    ("label_views", "mirrored", {}),
    ("label_views", "mirrored", {"teacher_bn": "track"}),
    ("label_views", "mirrored", {"teacher_bn": "track", "labeller_bn": "batch"}),
    ("label_views", "scales", {}),
    ("label_views", "scales", ROWS["ST"]),
    ("label_scale", 1.5, {}),
    ("label_scale", 0.75, {"label_views": "scales", "teacher_bn": "track"}),
    ("teacher_bn", "ema", {}),
    ("teacher_bn", "track", {}),
    ("teacher_bn", "keep", {}),
    ("ema_momentum", 0.6, {}),
    ("ema_period", 3, {}),
    ("patch_unit", "component", {}),
    ("patch_order", "random", {}),
    ("patch_image", "augmented", {}),
    ("patch_max_cover", 0.2, {}),
    ("loss_norm", "weights", {}),
    ("aug_strength", 0.15, {}),
    ("aug_probability", 0.2, {}),
    ("blur_probability", 0.1, {}),
    ("seed", 6, {}),
    ("iterations", 4, {}),
    ("batch", 2, {}),
    ("accumulate", 3, {}),
    ("accumulate", 3, {"loss_norm": "weights"}),
    ("crop_height", 20, {}),
    ("crop_width", 16, {}),
    ("lr", 0.05, {}),
    ("head_lr_factor", 2.0, {}),
    ("momentum", 0.0, {}),
    ("weight_decay", 0.1, {}),
    ("metric_lr", 0.01, {}),
    ("poly_power", 0.0, {}),
]
"""Another value of each setting that the adaptation reads, and what it needs beside it."""
ELSEWHERE = {"procedure", "adabn_share", "st", "evaluated", "eval_split", "workers"}
"""What is run, reported and how it is loaded: `tests/training/test_settings_reach.py`."""


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@lru_cache
def made() -> tuple[SegmentationNetwork, ArrayImages]:
    """A source model that predicts every class, with settled statistics, and target images."""
    torch.manual_seed(1)
    source = build_network("small_deeplab", 8, CLASSES)
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 128, (4, 6, 7, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    images = ArrayImages(blocks + rng.integers(0, 128, blocks.shape, dtype=np.uint8))
    pixels = torch.from_numpy(np.stack([images.image(i) for i in range(4)])).permute(0, 3, 1, 2)
    with torch.no_grad():
        for _ in range(20):
            source.train()(pixels / 255)
        logits = source.eval()(pixels / 255)
        branches: Any = source.classifier.branches
        branches[0].bias -= logits.mean((0, 2, 3))
        for branch in branches:
            branch.weight *= 8
            branch.bias *= 8
    return source, images


class Watching:
    """In a keeper's place: a copy of the state after every iteration."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []

    def load(self) -> None:
        """There is none to go on from."""

    def due(self) -> bool:
        """Always."""
        return True

    def save(self, state: dict[str, Any], device: torch.device) -> None:
        """The networks, which the training goes on to change; patches and numbers stay."""
        kept = dict(state["adaptation"])
        for name in ("student", "teacher"):
            kept[name] = kept[name] and {k: v.clone() for k, v in kept[name].items()}
        if kept["metric"]:
            network = {k: v.clone() for k, v in kept["metric"]["network"].items()}
            proxies = kept["metric"]["proxies"].clone()
            kept["metric"] = kept["metric"] | {"network": network, "proxies": proxies}
        kept["rates"] = [g["lr"] for o in kept.pop("optimizers") for g in o["param_groups"]]
        self.states.append(kept)


@lru_cache
def run(settings: Settings) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
    """State and point of the curve after every iteration of a trial."""
    watching: Any = Watching()
    _, log = adapt(settings, *made(), CLASSES, checkpoint=watching)
    return watching.states, log.curve


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    found, expected = (torch.cat([v.flatten() for v in d.values()]) for d in (ours, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def check(state: dict[str, Any], twin: Twin, iteration: int) -> None:
    """Student, teacher, metric network, proxies, thresholds, patches and rates are the twin's."""
    same(state["student"], twin.student.state_dict())
    if twin.s.mt:
        same(state["teacher"], twin.teacher.state_dict())
    rates = [*twin.rates, twin.s.metric_lr] if twin.measures else twin.rates
    decay = twin.rate(iteration + 1)
    assert state["rates"] == pytest.approx([rate * decay for rate in rates], rel=1e-9)
    assert bool(state["metric"]) == bool(twin.measures)
    if twin.measures:
        metric = state["metric"]
        mine = {"proxies": metric["proxies"], **metric["network"]}
        same(mine, {"proxies": twin.proxies.detach(), **twin.metric.state_dict()})
        expected = [np.nan if value is None else value for value in twin.thresholds]
        np.testing.assert_allclose(metric["thresholds"], expected, rtol=1e-9)
    if twin.s.mocm:
        same_patches(state["bank"]["buffers"], twin)


def same_patches(buffers: list[list[dict[str, Any]]], twin: Twin) -> None:
    assert [len(buffer) for buffer in buffers] == [len(buffer) for buffer in twin.buffers]
    for buffer, kept in zip(buffers, twin.buffers, strict=True):
        for patch, whole in zip(buffer, kept, strict=True):
            height, width = patch["mask"].shape
            rows = slice(patch["top"], patch["top"] + height)
            columns = slice(patch["left"], patch["left"] + width)
            image = patch["image"]
            image = image.float() / 255 if image.dtype == torch.uint8 else image
            assert patch["area"] == patch["mask"].sum() == whole.mask.sum()
            assert torch.equal(patch["mask"], whole.mask[rows, columns])
            assert torch.equal(image, whole.image[:, rows, columns])
            torch.testing.assert_close(patch["reliability"], whole.reliability[rows, columns])


def agree(**changes: Any) -> dict[str, Any]:
    """Run a trial and its twin, compare them after every iteration; the last state."""
    settings = Settings().replace(**(BASE | changes))
    states, curve = run(settings)
    source, images = made()
    twin = Twin(settings, source, CLASSES, images)
    torch.empty((), dtype=torch.int64).random_()  # torch's loader draws a seed when it begins
    pairs = zip(states, curve, crops(twin.s, images), strict=True)
    for iteration, (state, point, batch) in enumerate(pairs, start=1):
        expected = twin.step(batch, iteration)
        check(state, twin, iteration)
        assert {name: point[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    return states[-1]


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_ablation_equals_its_twin(row: str) -> None:
    agree(iterations=6, **ROWS[row])


@pytest.mark.parametrize(
    ("setting", "value", "beside"), SETTINGS, ids=[f"{s}={v}" for s, v, _ in SETTINGS]
)
def test_every_setting_reaches_the_part_it_names(
    setting: str, value: Any, beside: dict[str, Any]
) -> None:
    without = run(Settings().replace(**(BASE | beside)))[0][-1]
    with_it = agree(**(beside | {setting: value}))
    if setting == "metric_alongside":
        same(with_it["student"], without["student"])
        assert with_it["metric"] and not without["metric"]
        return
    moved = [
        not torch.allclose(v, without["student"][k], rtol=1e-5)
        for k, v in with_it["student"].items()
    ]
    assert any(moved)


def test_the_table_above_leaves_no_setting_out() -> None:
    fields = {*MethodSettings.model_fields, *TrainingSettings.model_fields}
    assert {setting for setting, _, _ in SETTINGS} | ELSEWHERE == fields


def test_the_base_of_the_table_puts_every_part_to_work() -> None:
    """Rare and full buffers, teachers that moved, shares that are neither none nor all."""
    states, curve = run(Settings().replace(**BASE))
    sizes = [[len(buffer) for buffer in state["bank"]["buffers"]] for state in states]
    assert 0 in sizes[0] and sizes[-1] == [BASE["buffer_size"]] * CLASSES
    assert all(0.1 < point["reliability"] < 0.9 for point in curve)
    assert all(0.1 < point["selected"] < 0.9 for point in curve)
    first, second, third = (state["teacher"]["features.0.weight"] for state in states)
    assert not torch.equal(first, second) and torch.equal(second, third)
