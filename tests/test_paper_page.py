"""docs/paper.md names a file for each equation, and the file cites the equation."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| [^|]+ \| ([^|]+) \| (`stvm/[^|]+`) \|$", PAGE, re.MULTILINE)


def opening(path: str) -> str:
    """First line of a module."""
    return (ROOT / path).read_text(encoding="utf-8").partition("\n")[0]


@pytest.mark.parametrize("number", range(1, 6))
def test_each_equation_has_one_file_that_opens_with_it(number: int) -> None:
    (named,) = [code for where, code in ROWS if where == f"eq. {number}"]
    path = re.findall(r"`(stvm/[\w/]+\.py)`", named)[0]
    files = [str(p.relative_to(ROOT)) for p in (ROOT / "stvm").rglob("*.py")]
    assert [p for p in files if re.search(rf"equation {number}\b", opening(p))] == [path]


def test_files_and_names_of_the_table_exist() -> None:
    assert len(ROWS) >= 12
    for _, code in ROWS:
        paths = re.findall(r"`(stvm/[\w/]+)\.py`", code)
        names = re.findall(r"`(\w+)`", code)
        modules = [importlib.import_module(path.replace("/", ".")) for path in paths]
        assert paths and all(any(hasattr(m, name) for m in modules) for name in names), code
