"""Data flows one way: a room imports what stands on lines above its own."""

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TREES = ("stvm", "studies", "reports")

LAYERS = (
    ("errors", "durations", "option_parser", "statistics"),
    ("files", "networks"),
    ("settings",),
    ("pretrained", "method", "data", "records"),
    ("evaluation", "study", "objectives"),
    ("training", "search"),
    ("source_model",),
    ("memory", "trial"),
    ("tune",),
    ("studies", "reports"),
)
"""Rooms, the lowest first: folders and modules of `stvm`, then the commands."""

REPORTS = ("stvm.errors", "stvm.durations", "stvm.files", "stvm.settings", "stvm.statistics")
REPORTS += ("stvm.records", "stvm.data.cityscapes", "stvm.data.classes", "reports")
REPORTS += ("stvm.option_parser",)
"""All that reports may import."""

NEEDS_NO_TORCH = (
    *("settings", "files", "statistics", "records", "search", "study", "errors", "durations"),
    *("option_parser", "tune"),
)
NEEDS_NO_SETTINGS = ("method", "objectives", "networks", "pretrained", "files", "statistics")
"""Rooms that know plain values alone."""
USES_RAY = {"tune"}


def modules() -> dict[str, Path]:
    paths = [p for top in TREES for p in (ROOT / top).rglob("*.py")]
    return {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
        for p in paths
    }


@cache
def imported(path: Path, late: bool = True) -> frozenset[str]:
    """Modules and names that a module imports; without `late`, only where it is loaded."""
    names: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if late else tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def room(module: str) -> str | None:
    """`stvm.data.crops` is in the room `data`, `studies.cli` in `studies`."""
    top, *rest = module.split(".")
    if top in ("studies", "reports"):
        return top
    return rest[0] if top == "stvm" and rest else None


LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


@pytest.mark.parametrize("here", LEVEL)
def test_a_room_imports_what_stands_above_it(here: str) -> None:
    members = {name: path for name, path in modules().items() if room(name) == here}
    assert members
    for name, path in members.items():
        for other in imported(path):
            there = room(other)
            if there in LEVEL and there != here:
                assert LEVEL[there] < LEVEL[here], f"{name} imports {other}"


def test_every_module_has_a_room() -> None:
    assert {room(name) for name in modules()} - {None} == set(LEVEL)


def test_reports_read_records_alone() -> None:
    for name, path in modules().items():
        if room(name) == "reports":
            for other in imported(path):
                inner = below(other, "stvm") and other != "stvm"
                assert not inner or any(below(other, ok) for ok in REPORTS), f"{name}: {other}"
                assert not any(below(other, banned) for banned in ("torch", "ray", "optuna"))


def test_ray_is_in_one_room() -> None:
    users = {room(n) for n, p in modules().items() if any(below(m, "ray") for m in imported(p))}
    assert users == USES_RAY


def test_torch_is_not_loaded_by_those_who_list_and_print() -> None:
    for name, path in modules().items():
        if room(name) in NEEDS_NO_TORCH and name != "stvm.tune.trainable":
            assert not any(below(m, "torch") for m in imported(path, late=False)), name


def test_the_method_knows_no_settings() -> None:
    for name, path in modules().items():
        if room(name) in NEEDS_NO_SETTINGS:
            assert not any(below(m, "stvm.settings") for m in imported(path)), name


def test_no_two_modules_have_one_name() -> None:
    names = Counter(p.stem for p in modules().values() if not p.stem.startswith("__"))
    assert [name for name, count in names.items() if count > 1] == []


def test_names_of_the_objectives_stand_for_nothing_else() -> None:
    """A loss and a score to choose by were both called `Objective`."""
    rooms: dict[str, set[str | None]] = {}
    for name, path in modules().items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                rooms.setdefault(node.name, set()).add(room(name))
    ours = {name: found for name, found in rooms.items() if "objectives" in found}
    assert "Objective" in ours
    assert [name for name, found in ours.items() if len(found) > 1] == []


def test_rooms_are_few() -> None:
    assert len(LEVEL) <= 22 and len(LAYERS) <= 10


def test_the_rule_would_notice() -> None:
    assert "ray" in imported(ROOT / "stvm" / "tune" / "tasks.py")
    assert below("ray.tune", "ray") and not below("rayleigh", "ray")
    assert room("stvm.data.crops") == "data" and room("studies.cli") == "studies"
