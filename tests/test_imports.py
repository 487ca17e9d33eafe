"""Data flows one way: which package may import which."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

RAY = {
    "stvm.cluster",
    "stvm.execute",
    "stvm.trainable",
    "stvm.progress",
    "stvm.search_tune",
    "stvm.sharing",
}
_TRAINS = (
    *("stvm.data", "stvm.method", "stvm.trainer", "stvm.evaluate", "stvm.experiment"),
    *("stvm.inputs", "stvm.source_training", "stvm.trial", "stvm.trainable"),
)
FORBIDDEN = {
    # module prefix: what it must not import
    "stvm.settings": ("stvm.data", "stvm.method", "stvm.trainer", "ray", "torch"),
    "stvm.idle": ("stvm.settings", "stvm.data", "ray", "torch"),
    "stvm.digests": ("stvm.settings", "stvm.data", "stvm.method", "stvm.trainer", "ray", "torch"),
    "stvm.contents": (
        *("stvm.method", "stvm.trainer", "stvm.experiment", "stvm.trial", "stvm.study"),
        *("stvm.sources", "stvm.source_model", "ray", "torch"),
    ),
    "stvm.named": (
        *("stvm.method", "stvm.trainer", "stvm.experiment", "stvm.trial", "stvm.study"),
        *("stvm.source_model", "ray", "torch"),
    ),
    "stvm.data": ("stvm.method", "stvm.trainer", "stvm.experiment", "stvm.study", "ray"),
    "stvm.compute": (
        *("stvm.settings", "stvm.data", "stvm.method", "stvm.trainer", "stvm.experiment"),
        *("stvm.study", "ray"),
    ),
    "stvm.storages": ("stvm", "ray"),
    "stvm.memory": ("stvm.trainer", "stvm.experiment", "stvm.trial", "stvm.study", "ray"),
    "stvm.memory_report": ("stvm.trainer", "stvm.experiment", "stvm.trial", "stvm.study", "ray"),
    "stvm.networks": ("stvm.data", "stvm.method", "stvm.trainer", "stvm.settings", "ray"),
    "stvm.pretrained": ("stvm.data", "stvm.method", "stvm.trainer", "stvm.settings", "ray"),
    "stvm.source_model": ("stvm.method", "stvm.trainer", "stvm.experiment", "stvm.study", "ray"),
    "stvm.method": ("stvm.data", "stvm.trainer", "stvm.experiment", "stvm.study", "ray"),
    "stvm.optimisation": ("stvm.data", "stvm.method", "stvm.trainer", "ray"),
    "stvm.supervised": ("stvm.trainer", "stvm.experiment", "stvm.study", "ray"),
    "stvm.labelled": (
        *("stvm.settings", "stvm.method", "stvm.trainer", "stvm.experiment", "stvm.study"),
        "ray",
    ),
    "stvm.trainer": ("stvm.experiment", "stvm.records", "stvm.study", "ray"),
    "stvm.evaluate": ("stvm.method", "stvm.trainer", "stvm.experiment", "ray"),
    "stvm.inputs": (
        *("stvm.method", "stvm.trainer", "stvm.experiment", "stvm.trial", "stvm.study", "ray"),
    ),
    "stvm.source_training": ("stvm.trainer", "stvm.experiment", "stvm.trial", "stvm.study", "ray"),
    "stvm.experiment": ("stvm.trial", "stvm.study", "stvm.execute", "ray"),
    "stvm.trial": ("stvm.study", "stvm.execute", "ray"),
    "stvm.study": ("stvm.trial", "stvm.trainer", "stvm.execute", "ray", "torch"),
    "stvm.objectives": ("stvm.settings", "stvm.data", "ray", "torch"),
    "stvm.presets": ("stvm.data", "stvm.method", "stvm.trainer", "ray", "torch"),
    "stvm.groups": ("stvm.settings", "stvm.data", "stvm.method", "stvm.trainer", "ray", "torch"),
    "stvm.machine": ("stvm", "ray", "torch"),
    "stvm.deaths": ("stvm", "ray", "torch"),
    "stvm.locks": ("stvm.settings", "stvm.records", "stvm.study", "ray", "torch"),
    "stvm.running": ("stvm.settings", "stvm.study", "stvm.execute", "ray", "torch"),
    "stvm.sharing": (
        *("stvm.data", "stvm.method", "stvm.trainer", "stvm.experiment", "stvm.trial"),
        *("stvm.execute", "torch"),
    ),
    "stvm.slots": ("stvm.settings", "stvm.records", "stvm.study", "ray", "torch"),
    "stvm.sources": ("stvm.data", "stvm.method", "stvm.trainer", "stvm.experiment", "ray", "torch"),
    "stvm.estimate": ("stvm.data", "stvm.method", "stvm.trainer", "ray", "torch", "optuna"),
    "stvm.checkpoints": (
        *("stvm.settings", "stvm.data", "stvm.method", "stvm.trainer", "stvm.experiment"),
        *("stvm.study", "ray"),
    ),
    "stvm.scores": (
        *("stvm.settings", "stvm.method", "stvm.trainer", "stvm.experiment", "stvm.records"),
        *("stvm.study", "ray"),
    ),
    "stvm.silhouette": (
        *("stvm.settings", "stvm.method", "stvm.trainer", "stvm.experiment", "stvm.records"),
        *("stvm.study", "ray"),
    ),
    "stvm.metric_files": ("stvm.trainer", "stvm.experiment", "stvm.trial", "stvm.study", "ray"),
    "stvm.prediction": ("stvm.trainer", "stvm.experiment", "stvm.trial", "stvm.study", "ray"),
    "stvm.measures": ("stvm.experiment", "stvm.records", "stvm.trial", "stvm.study", "ray"),
    "stvm.cluster": (
        *("stvm.settings", "stvm.data", "stvm.method", "stvm.trainer", "stvm.experiment"),
        *("stvm.study", "stvm.execute", "torch"),
    ),
    "stvm.tensorboard": ("stvm.method", "stvm.trainer", "stvm.experiment", "stvm.study", "ray"),
    # The search knows of records what every reader knows; what trains is known to its workers.
    "stvm.search": (*_TRAINS, "stvm.execute", "stvm.search_tune", "ray", "torch"),
    "stvm.search_plan": (
        *(*_TRAINS, "stvm.execute", "stvm.search", "stvm.search_tune", "stvm.records"),
        *("ray", "torch"),
    ),
    "stvm.search_again": (*_TRAINS, "stvm.execute", "stvm.search", "ray", "torch"),
    "stvm.search_drivers": (*_TRAINS, "stvm.execute", "stvm.search", "stvm.study", "ray", "torch"),
    "stvm.search_plots": (*_TRAINS, "stvm.execute", "stvm.search", "ray", "torch"),
    "stvm.search_space": (*_TRAINS, "stvm.execute", "stvm.search", "stvm.study", "ray", "torch"),
    "stvm.search_storage": (*_TRAINS, "stvm.execute", "stvm.search", "stvm.study", "ray", "torch"),
    "stvm.search_tune": (*_TRAINS, "torch"),
    "stvm.scratch": (
        *("stvm.settings", "stvm.data", "stvm.method", "stvm.trainer", "stvm.experiment"),
        *("stvm.records", "stvm.study", "ray", "torch"),
    ),
    "stvm.trackers": ("stvm.method", "stvm.trainer", "stvm.experiment", "stvm.study", "ray"),
    "stvm.sqlite": ("stvm.settings", "stvm.data", "stvm.records", "stvm.study", "ray", "torch"),
    "stvm.files": ("stvm.settings", "stvm.data", "stvm.records", "stvm.study", "ray", "torch"),
    "stvm.records": ("stvm.settings", "stvm.method", "stvm.trainer", "ray", "torch"),
    "stvm": ("reports", "studies"),
    "studies": ("reports",),
    "reports": (
        *(*_TRAINS, "stvm.execute", "stvm.cluster", "stvm.study", "stvm.search"),
        *(
            "stvm.search_again",
            "stvm.search_drivers",
            "stvm.search_plan",
            "stvm.search_plots",
            "stvm.search_space",
            "stvm.search_storage",
        ),
        *("stvm.search_tune", "stvm.tensorboard", "stvm.progress", "stvm.scores"),
        *("stvm.search_plan", "stvm.search_plots", "stvm.search_space", "stvm.search_storage"),
        *("stvm.search_tune", "stvm.tensorboard", "stvm.trackers", "stvm.progress", "stvm.scores"),
        *("stvm.silhouette", "stvm.measures", "stvm.checkpoints", "stvm.networks"),
        *("stvm.pretrained", "stvm.source_model", "stvm.contents", "stvm.digests", "stvm.named"),
        *("studies", "ray", "torch"),
        "optuna",
    ),
}
ALLOWED = {
    # The command prints the interval of the table, which must be the same one.
    ("studies.search_report", "reports.paired"),
}


def modules() -> dict[str, Path]:
    paths = [p for top in ("stvm", "studies", "reports") for p in (ROOT / top).rglob("*.py")]
    return {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
        for p in paths
    }


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


@pytest.mark.parametrize("prefix", FORBIDDEN)
def test_nothing_imports_against_the_flow(prefix: str) -> None:
    members = {name: path for name, path in modules().items() if below(name, prefix)}
    assert members
    for name, path in members.items():
        allowed = {other for one, other in ALLOWED if one == name}
        for other in imported(path):
            if any(below(other, module) for module in allowed):
                continue
            for banned in FORBIDDEN[prefix]:
                assert not below(other, banned), f"{name} imports {other}"


def test_every_exception_is_in_use() -> None:
    assert all(other in imported(modules()[name]) for name, other in ALLOWED)


def test_ray_is_known_to_the_executor_alone() -> None:
    users = {n for n, p in modules().items() if any(below(m, "ray") for m in imported(p))}
    assert users == RAY


def test_the_rule_would_notice() -> None:
    assert "ray" in imported(ROOT / "stvm" / "execute.py")
    assert below("ray.tune", "ray") and not below("rayleigh", "ray")
