"""Files and functions that can be read at one sitting."""

import ast
import statistics
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = sorted(p for top in ("stvm", "studies", "reports") for p in (ROOT / top).rglob("*.py"))
TREES = ("stvm", "studies", "reports", "benchmarks", "tests")

MOST_LINES, MOST_OF_A_FUNCTION, MEDIAN = 280, 50, 8


def functions(path: Path) -> dict[str, int]:
    """Lines of each function of a file, the decorators not counted."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    # With the line: several classes of a file have a method of one name.
    where = path.relative_to(ROOT)
    return {f"{where}:{f.lineno}:{f.name}": f.end_lineno - f.lineno + 1 for f in found}


def test_files_are_short() -> None:
    lines = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8").count("\n") for p in CODE}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_functions_are_short() -> None:
    lines = {name: count for path in CODE for name, count in functions(path).items()}
    assert {name: count for name, count in lines.items() if count > MOST_OF_A_FUNCTION} == {}
    assert statistics.median(lines.values()) <= MEDIAN


def test_nothing_edits_the_path_of_imports() -> None:
    for path in (p for top in TREES for p in (ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            edits = isinstance(node, ast.Attribute) and node.attr in ("insert", "append", "extend")
            assert not (edits and ast.unparse(node.value) == "sys.path"), path


def test_a_utils_module_has_no_place() -> None:
    assert not [p for p in CODE if p.stem in ("utils", "util", "helpers", "misc", "common")]
