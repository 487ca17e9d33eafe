"""States that the version before kept load, and new ones have their form."""

import copy
from typing import Any

import torch

from stvm.networks import build_network
from stvm.training.builder import Adaptation, build_adaptation
from tests.helpers.tiny_settings import tiny

CLASSES = 4


def built(**changes: Any) -> Adaptation:
    torch.manual_seed(0)
    return build_adaptation(tiny(**changes), build_network("small_deeplab", 16, CLASSES), CLASSES)


def draws(seed: int) -> torch.Tensor:
    return torch.Generator().manual_seed(seed).get_state()


def old_metric() -> dict[str, Any]:
    """As `MetricLearner.state_dict` gave it when it was no module."""
    torch.manual_seed(1)
    head = build_network("small_deeplab", 16, CLASSES).new_head(16)
    thresholds = torch.tensor([0.5, 0.7, 0.9, torch.nan])
    return {
        "network": head.state_dict(),
        "proxies": torch.randn(CLASSES, 16),
        "thresholds": thresholds,
        "doubts": torch.log1p(-thresholds),
        "generator": draws(5),
    }


def old_bank() -> dict[str, Any]:
    """As `PatchBank.state_dict` gave it when it was no module."""
    mask = torch.tensor([[True, False], [True, True]])
    patch = {"image": torch.full((3, 2, 2), 7, dtype=torch.uint8), "mask": mask}
    patch |= {"reliability": torch.rand(2, 2), "top": 3, "left": 1, "area": 3}
    return {"buffers": [[patch], [], [], []], "banked": [4, 0, 0, 0], "generator": draws(6)}


def old_state(**changes: Any) -> dict[str, Any]:
    """Of an adaptation, with networks that are another seed's."""
    torch.manual_seed(2)
    student, teacher = (build_network("small_deeplab", 16, CLASSES) for _ in range(2))
    optimizers = copy.deepcopy(built(**changes).state_dict()["optimizers"])
    return {
        "student": student.state_dict(),
        "teacher": teacher.state_dict(),
        "metric": old_metric(),
        "bank": old_bank(),
        "optimizers": optimizers,
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a.nan_to_num(9), b.nan_to_num(9))
    return bool(a == b)


def test_an_old_state_arrives_where_it_belongs_and_is_written_alike() -> None:
    old, adaptation = old_state(), built()
    adaptation.load_state_dict(copy.deepcopy(old))
    metric, bank = adaptation.metric, old["bank"]["buffers"]
    assert metric and same(metric.network.state_dict(), old["metric"]["network"])
    assert torch.equal(metric.proxies, old["metric"]["proxies"])
    assert torch.equal(metric.thresholds.values[:3], old["metric"]["thresholds"][:3])
    assert torch.equal(metric.generator.get_state(), draws(5))
    (kept,) = adaptation.step.bank.patches[0]  # type: ignore[attr-defined]
    assert same(vars(kept), bank[0][0]) and list(adaptation.step.bank.banked) == [4, 0, 0, 0]
    assert same(adaptation.state_dict(), old)


def test_an_old_state_without_bank_and_metric_network_loads() -> None:
    off = {"mgs": False, "mocm": False}
    old = old_state(**off) | {"metric": None, "bank": {}}
    adaptation = built(**off)
    adaptation.load_state_dict(copy.deepcopy(old))
    assert same(adaptation.state_dict(), old)
