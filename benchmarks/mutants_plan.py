"""What `make mutants` changes, and which quick tests must notice: `mutants.toml`, read."""

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Plan:
    """What `mutants.toml` says.

    Attributes:
        tests: module to its test files.
        operators: beginnings of the operators that are tried.
        equal: module and changed line to the reason why the change is none.
    """

    tests: dict[str, tuple[str, ...]]
    operators: tuple[str, ...]
    equal: dict[tuple[str, str], str]


def read_plan(path: Path) -> Plan:
    """The plan; a group gives its tests to all its modules."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    tests = {
        module: tuple(f"tests/{name}.py" for name in group["tests"])
        for group in data["group"]
        for module in group["modules"]
    }
    equal = {(e["module"], e["line"].strip()): e["reason"] for e in data.get("equal", [])}
    return Plan(tests, tuple(data["operators"]), equal)


def outdated(plan: Plan) -> list[tuple[str, str]]:
    """Equal changes whose line is like none of its module: the module has changed since."""
    lines = {
        module: [line.strip() for line in (ROOT / module).read_text("utf-8").splitlines()]
        for module, _ in plan.equal
    }
    return [(m, line) for m, line in plan.equal if not get_close_matches(line, lines[m], 1, 0.9)]
