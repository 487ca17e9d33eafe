"""What `make mutants` is told fits the tree."""

from pathlib import Path

from benchmarks.mutants_plan import ROOT, Plan, outdated, read_plan


def test_the_modules_and_tests_of_the_plan_exist() -> None:
    plan = read_plan(Path("benchmarks/mutants.toml"))
    assert all((ROOT / module).is_file() for module in plan.tests)
    assert all((ROOT / test).is_file() for tests in plan.tests.values() for test in tests)
    assert {module for module, _ in plan.equal} <= set(plan.tests)


def test_a_reason_for_a_line_that_is_no_more_is_told() -> None:
    module = "benchmarks/mutants_plan.py"
    lines = {
        "ROOT = Path(__file__).resolve().parents[2]": "near",
        "no line of this module is anything like this one": "far",
    }
    plan = Plan({module: ()}, (), {(module, line): reason for line, reason in lines.items()})
    assert outdated(plan) == [(module, "no line of this module is anything like this one")]
