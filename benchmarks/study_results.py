"""Results folders of every study, made up: the same arguments give the same files."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BASE = "abcdefabcdef"
DEFAULTS = {
    "tau_mocm": 0.6,
    "n_mocm": 3,
    "n_f": 64,
    "temperature": 0.25,
    "q_m": 0.2,
    "alpha": 2.0,
    "beta": 0.6,
}
GRID: dict[str, list[float]] = {
    "tau_mocm": [0.4, 0.6, 0.8, 1.0],
    "n_mocm": [2, 3, 5, 10, 15],
    "n_f": [32, 64, 128, 256],
    "temperature": [0.1, 0.25, 0.5, 1.0],
    "q_m": [0.1, 0.2, 0.3, 0.4],
    "alpha": [1, 2, 4, 8],
    "beta": [0.5, 0.6, 0.7, 0.8],
}
CLASSES = ["road", "sidewalk", "building", "wall", "fence", "pole", "traffic light"]
CLASSES += ["traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car"]
LEVELS = {
    "Source": 0.40,
    "AdaBN": 0.48,
    "partial AdaBN": 0.49,
    "Oracle": 0.75,
    "ST": 0.41,
    "ST_Aug": 0.45,
    "ST_MT": 0.50,
    "STvM_Raw": 0.53,
    "STvM": 0.54,
    "MinEnt": 0.35,
}
"""mIoU about which the trials of a variant lie."""
ALONE = ("Source", "AdaBN", "partial AdaBN", "Oracle")
"""Variants without seeds."""
METRIC = ("ST_MT", "STvM_Raw", "STvM")
KINDS = (
    *("ablation", "hparam_grid", "variance", "silhouette", "pseudo_labels", "search"),
    "objectives",
)
TABLE = dict(zip((*KINDS, "readings"), (4, 5, 6, 7, 0, 0, 8, 0), strict=True))
TABLE4 = tuple(row for row in LEVELS if row != "MinEnt")

Cell = tuple[str, str, dict[str, Any]]
"""Row, variant and changed settings."""


def cells(kind: str) -> list[Cell]:
    """The rows of a kind of study."""
    if kind == "hparam_grid":
        return [
            (f"{name}={value:g}", "STvM", {} if value == DEFAULTS[name] else {name: value})
            for name, values in GRID.items()
            for value in values
        ]
    if kind == "pseudo_labels":
        shares = [(str(share), "ST", {"share": share}) for share in range(10, 101, 10)]
        return [("Source", "Source", {}), *shares]
    if kind == "search":
        found = [(f"trial {i}", "STvM", {"alpha": 1 + i / 8}) for i in range(8)]
        return [*found, ("best", "STvM", {"alpha": 1.5}), ("default", "STvM", {})]
    if kind == "silhouette":
        unused = {"mgs": False, "metric": True}
        return [(row, row, unused if row == "ST_MT" else {}) for row in METRIC]
    if kind == "readings":
        order = {"patch_order": "random"}
        return [("STvM", "STvM", {}), ("STvM, patch_order=random", "STvM", order)]
    if kind == "objectives":
        rates = [("MinEnt", {"lr": 1.5e-4}), ("MinEnt, oracle's rate", {"lr": 4.5e-4})]
        return [*cells("ablation"), *((row, "MinEnt", rate) for row, rate in rates)]
    return [(row, row, {}) for row in (TABLE4 if kind == "ablation" else ["STvM"])]


def _rng(*words: Any) -> np.random.Generator:
    return np.random.default_rng(int(_digest(*words), 16))


def _digest(*words: Any) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:12]


def result(variant: str, changes: dict[str, Any], realisation: int, seed: int) -> dict[str, Any]:
    """A made-up result in the form of a done record's."""
    rng = _rng("result", variant, changes, realisation, seed)
    miou = LEVELS[variant] + 0.01 * (realisation % 10) + rng.normal(0, 0.01)
    miou -= 0.02 * sum(abs(np.log2(v / DEFAULTS[k])) for k, v in changes.items() if k in DEFAULTS)
    iou = np.clip(miou + rng.normal(0, 0.05, len(CLASSES)), 0, 1).tolist()
    shares = rng.dirichlet(np.full(len(CLASSES), 5.0)).round(6).tolist()
    whole = {"miou": miou, "iou": iou, "pixel_accuracy": 0.8}
    made = whole | {"class_names": CLASSES, "evaluated": "teacher", "split": "test"}
    made |= {"iteration": 800, "source_val_miou": None, "auroc": None, "silhouette": None}
    made["scores"] = {
        "entropy": 1 - miou + rng.normal(0, 0.02),
        "information_maximisation": miou + rng.normal(0, 0.02),
        "soft_neighbourhood_density": rng.normal(3, 1),
        "silhouette": None,
        "agreement": None,
    }
    if variant in ALONE:
        return made
    points = np.linspace(0, 800, 41).astype(int).tolist()
    made |= {"student": whole, "teacher": whole, "collapsed": False}
    made["auroc"] = {"confidence": 0.8, "reliability": 0.7}
    made["scores"]["agreement"] = 0.8 + rng.normal(0, 0.02)
    made["curve"] = [
        {"iteration": i, "loss": float(rng.random()), "metric_loss": float(rng.random())}
        | {"reliability": float(rng.random()), "selected": float(rng.random())}
        for i in points
    ]
    made["watch"] = [
        {"iteration": i, "shares": shares, "entropy": 0.4, "information": 1.2} for i in points
    ]
    if variant in METRIC:
        made["scores"]["silhouette"] = miou - 0.2 + rng.normal(0, 0.01)
        truth = {"class": iou, "class_mean": miou - 0.2, "overall_mean": miou}
        made["silhouette"] = {"truth": truth}
        made["silhouette"]["prediction"] = truth | {"class_mean": miou - 0.1}
    return made


def record(variant: str, changes: dict[str, Any], realisation: int, seed: int) -> dict[str, Any]:
    """A made-up done record; its hash follows from the arguments."""
    filler = {f"setting_{i:02d}": i / 7 for i in range(50)}
    settings = DEFAULTS | changes | {"realisation": realisation, "seed": seed} | filler
    return {
        "schema": 1,
        "hash": _digest(variant, changes, realisation, seed),
        "status": "done",
        "settings": settings,
        "result": result(variant, changes, realisation, seed),
        "failure": None,
        "run": {"started": "2026-01-01T00:00:00+00:00", "seconds": 60.0, "device": "cpu"},
        "variant": variant,
    }


def make_study(
    root: Path,
    kind: str,
    seeds: Iterable[int] = range(3),
    realisations: Iterable[int] = (0,),
    tuned: Sequence[int] = (),
    base: str = BASE,
) -> dict[str, Any]:
    """Write a manifest and the records that are not there yet; returns the manifest."""
    for folder in ("records", "studies"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    trials = []
    seeds = list(seeds)
    for realisation in realisations:
        for row, variant, changes in cells(kind):
            alone = variant in ALONE
            for seed in [None] if alone else seeds:
                made = record(variant, changes, realisation, seed or 0)
                path = root / "records" / f"{made['hash']}.json"
                if not path.exists():
                    path.write_text(json.dumps(made, indent=1))
                trial = {"hash": made["hash"], "row": row, "seed": seed}
                trial |= {"realisation": realisation, "tuned": realisation in tuned}
                trials.append(trial)
    manifest: dict[str, Any] = {"schema": 1, "study": kind, "table": TABLE[kind], "preset": "demo"}
    manifest |= {"base": base, "title": f"{kind}, preset demo", "dataset": "streets"}
    manifest |= {"rule": "the teacher, last iteration", "updated": "2026-01-01T00:00:00+00:00"}
    facts: dict[str, Any] = {}
    if kind == "hparam_grid":
        facts = {"defaults": DEFAULTS, "grid": GRID}
    elif kind == "search":
        facts = {"objective": "information_maximisation", "oracle": False, "sampler": "tpe"}
        facts |= {"study": "demo", "states": {"COMPLETE": 8}, "defaults": {"alpha": 2.0}}
        facts |= {"best": {"alpha": 1.5}, "best_trial": 4, "importances": {"alpha": 1.0}}
    elif kind == "objectives":
        facts = {"score": "information_maximisation", "choice_seed": 1000, "tuned": [100, 101]}
        facts |= {"choice_realisation": 100, "choice_split": "val", "rates": "0" * 12}
    manifest |= {"facts": facts, "trials": trials}
    (root / "studies" / f"{kind}-{base}.json").write_text(json.dumps(manifest, indent=1))
    return manifest


def make_results(root: Path, kinds: Iterable[str] = KINDS, **study: Any) -> Path:
    """A results folder with a study of each kind; returns `root`."""
    for kind in kinds:
        make_study(root, kind, **study)
    return root


def change(root: Path, name: str, **fields: Any) -> None:
    """Replace fields of a record's result; None takes the field away."""
    path = root / "records" / f"{name}.json"
    made = json.loads(path.read_text())
    made["result"] |= fields
    made["result"] = {k: v for k, v in made["result"].items() if k not in fields or v is not None}
    path.write_text(json.dumps(made))


def fail(root: Path, name: str, error: str = "loss is nan") -> None:
    """Turn a record into a failed one."""
    path = root / "records" / f"{name}.json"
    made = json.loads(path.read_text()) | {"status": "failed", "result": None}
    made["failure"] = {"error": error, "iteration": 3, "seed": 0}
    path.write_text(json.dumps(made))
