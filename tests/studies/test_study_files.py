"""A study's file opens with the facts that the README's table shows, and both are true."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from studies import objectives, scenarios
from studies.objective_plan import all_candidates
from studies.search_options import REPORT_SEEDS, search_parser

ROOT = Path(__file__).resolve().parents[2]
FACTS = ("Question", "Command", "Cost", "Expected")
STUDIES = sorted(
    path.stem
    for path in (ROOT / "studies").glob("[!_]*.py")
    if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
)


def facts_of(name: str) -> dict[str, str]:
    """The four lines of a study's docstring, which stand below its first line."""
    source = (ROOT / "studies" / f"{name}.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    opening, empty, *lines = docstring.splitlines()
    assert opening.startswith(f"`python studies/{name}.py`: ") and not empty
    found = dict(line.split(": ", 1) for line in lines[: len(FACTS)])
    assert tuple(found) == FACTS
    return found


def rows() -> dict[str, list[str]]:
    """The README's table of studies: the cells beside each study."""
    found = {}
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\| `studies/(\w+)\.py` \|", line):
            found[match[1]] = [cell.strip() for cell in line.strip("|").split("|")][1:]
    return found


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def trials_of(name: str) -> int | str:
    """Trials with the options of the command as it stands."""
    if name == "objectives":
        # One more objective changes no page: each has its rates, the row with the chosen one, and
        # that with the oracle's where it is another.
        rows = len(objectives.TABLE4)
        (each,) = {len(candidate.multiples) + 1 for candidate in all_candidates()}
        return f"{rows} and, for each row with a chosen rate, {each} or {each + 1}"
    if name == "optuna_search":
        options = search_parser("").parse_args([])
        return int(options.trials) + 2 * len(REPORT_SEEDS)
    if name == "scenarios":
        return len(scenarios.build_study("gta5-cityscapes-deeplabv2", {}, [0]).trials)
    module = importlib.import_module(f"studies.{name}")
    seeds = getattr(module, "SEEDS", (0,))
    return len({trial.hash for trial in module.build_study("demo", {}, seeds, None).trials})


def test_the_table_lists_every_study() -> None:
    assert sorted(rows()) == STUDIES


@pytest.mark.parametrize("name", STUDIES)
def test_file_and_table_say_the_same(name: str) -> None:
    facts, (question, trials, cost, result) = facts_of(name), rows()[name]
    assert facts["Question"] == question and question.endswith("?")
    assert facts["Cost"] == f"{trials} trials, {cost}"
    assert facts["Command"].startswith(f"python studies/{name}.py")
    page, heading = facts["Expected"].removesuffix('"').split(', "')
    assert result.endswith(f"]({page}#{slug(heading)})")
    assert f"\n## {heading}\n" in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STUDIES)
def test_the_number_of_trials_is_that_of_the_command(name: str) -> None:
    assert facts_of(name)["Cost"].startswith(f"{trials_of(name)} trials, ")
