"""Results of the scenarios of Tables I to III, made up: the same arguments give the same files."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stvm.data.cityscapes import CITYSCAPES, CROSS_CITY, SYNTHIA, subset_means

CLASSES = {
    "gta5_cityscapes": CITYSCAPES,
    "synthia_cityscapes": SYNTHIA,
    "cityscapes_crosscity": CROSS_CITY,
}
TABLE = dict(zip(CLASSES, (1, 2, 3), strict=True))
NETWORKS = ("deeplabv2_resnet101", "deeplabv3_resnet50")
CITIES = ("rome", "rio", "tokyo", "taipei")
LEVEL = {"Source": 0.36, "AdaBN": 0.40, "partial AdaBN": 0.42, "STvM": 0.53}
RULE = "The student after the last iteration, protocol adaptsegnet."


def digest(*words: Any) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:12]


def _measured(rng: np.random.Generator, level: float, names: Sequence[str]) -> dict[str, Any]:
    iou = np.clip(level + rng.normal(0, 0.15, len(names)), 0, 1).tolist()
    found = {"miou": float(np.mean(iou)), "iou": iou, "pixel_accuracy": 0.9}
    means = subset_means(iou, names)
    return found | ({"means": means} if means else {})


def record(
    scenario: str, network: str, city: str, row: str, seed: int | None, multi_scale: bool = True
) -> dict[str, Any]:
    """A made-up done record."""
    name = digest(scenario, network, city, row, seed)
    rng = np.random.default_rng(int(name, 16))
    names = CLASSES[scenario]
    result = _measured(rng, LEVEL[row], names)
    result |= {"class_names": list(names), "evaluated": "student", "split": "val", "iteration": 9}
    result["protocol"] = {"name": "adaptsegnet", "input_size": [512, 1024]}
    result["protocol"] |= {"label_size": [1024, 2048], "align_corners": True}
    if multi_scale:
        result["multi_scale"] = _measured(rng, LEVEL[row] + 0.01, names)
        result["multi_scale"] |= {"scales": [0.75, 1.0, 1.25], "flip": True}
    return {
        "schema": 1,
        "hash": name,
        "status": "done",
        "settings": {"network": network, "seed": seed or 0, "realisation": 0},
        "result": result,
        "failure": None,
        "run": {"seconds": 3600.0, "device": "cpu"},
        "variant": row,
    }


def make_scenario(
    root: Path,
    scenario: str,
    network: str = NETWORKS[0],
    city: str = "",
    seeds: Iterable[int] = range(2),
    updated: str = "2026-01-01T00:00:00+00:00",
    base: str = "",
    multi_scale: bool = True,
    partial: bool = True,
) -> dict[str, Any]:
    """Write manifest and records of one scenario, network and city; returns the manifest."""
    for folder in ("records", "studies"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    base = base or digest(scenario, network, city)
    trials = []
    alone = [row for row in LEVEL if row != "STvM" and (partial or row != "partial AdaBN")]
    for row, seed in [*((row, None) for row in alone), *(("STvM", seed) for seed in seeds)]:
        made = record(scenario, network, city, row, seed, multi_scale)
        (root / "records" / f"{made['hash']}.json").write_text(json.dumps(made))
        trials.append({"hash": made["hash"], "row": row, "seed": seed, "realisation": 0})
        trials[-1]["tuned"] = False
    where = f" ({city})" if city else ""
    manifest = {"schema": 1, "study": "scenarios", "table": TABLE[scenario], "base": base}
    manifest |= {"preset": scenario, "title": f"{scenario}, {network}{where}", "rule": RULE}
    manifest |= {"dataset": scenario, "updated": updated, "trials": trials}
    manifest |= {"facts": {"scenario": scenario, "network": network, "city": city}}
    (root / "studies" / f"scenarios-{base}.json").write_text(json.dumps(manifest))
    return manifest


def make_all(root: Path, networks: Sequence[str] = NETWORKS) -> Path:
    """Every scenario, network and city; returns `root`."""
    for network in networks:
        for scenario in ("gta5_cityscapes", "synthia_cityscapes"):
            make_scenario(root, scenario, network)
        for city in CITIES:
            make_scenario(root, "cityscapes_crosscity", network, city)
    return root
