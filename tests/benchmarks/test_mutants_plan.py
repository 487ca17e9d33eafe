"""What `make mutants` is told fits the tree: modules, tests, and lines of equal changes."""

import difflib
from pathlib import Path

from benchmarks.mutants import ROOT, read_plan

PLAN = read_plan(Path("benchmarks/mutants.toml"))


def test_its_modules_and_tests_exist() -> None:
    assert all((ROOT / module).is_file() for module in PLAN.tests)
    assert all((ROOT / test).is_file() for tests in PLAN.tests.values() for test in tests)
    assert {module for module, _ in PLAN.equal} <= set(PLAN.tests)


def test_a_line_that_a_change_leaves_is_nearly_one_of_its_module() -> None:
    """Else the module has changed, and the reason is of a line that is no more."""
    for module, line in PLAN.equal:
        lines = [own.strip() for own in (ROOT / module).read_text(encoding="utf-8").splitlines()]
        assert difflib.get_close_matches(line, lines, 1, 0.9), (module, line)
