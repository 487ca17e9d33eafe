"""Plain words: a description stands alone, and a module says what it is.

Looked at in `stvm`, `studies` and `reports`: the lines below `Attributes:`, `Args:` and
`Raises:`, the descriptions of settings, the help of options, and the first words of each module's
docstring.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TREES = ("stvm", "studies", "reports")

BARE = ("of", "what", "as", "where")
"""Words with which no description opens: what they belong to is not on its line."""
NO_FIRST_WORD = (*BARE, "and", "or", "but", "by", "for", "from", "in", "on", "to", "with", "below")
"""Words with which no module's docstring opens: it names something or says a full sentence."""


SECTIONS = ("Args:", "Attributes:")
ENTRY = re.compile(r"(\*{0,2}\w+): +(\S.*)")


def modules() -> list[Path]:
    return sorted(path for tree in TREES for path in (ROOT / tree).rglob("*.py"))


def entries(docstring: str, sections: Sequence[str] = SECTIONS) -> Iterator[tuple[str, str]]:
    """Name and first line of each entry below some headings."""
    section, indent = False, 0
    for line in docstring.splitlines():
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if text in sections:
            section, indent = True, 0
        elif text and section:
            indent = indent or depth
            if depth < indent:
                section = False
            elif depth == indent and (found := ENTRY.match(text)):
                yield found[1], found[2]


def descriptions(
    tree: ast.Module, sections: Sequence[str] = SECTIONS
) -> Iterator[tuple[int, str, str]]:
    """Line, name and text of every description in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            line = getattr(node, "lineno", 1)
            for name, text in entries(ast.get_docstring(node) or "", sections):
                yield line, name, text
        elif isinstance(node, ast.Call):
            for word in node.keywords:
                if word.arg in ("description", "help") and (text := _text(word.value)):
                    yield word.value.lineno, word.arg, text


def _text(node: ast.expr) -> str:
    """The first part of a text that stands in the code."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr) and node.values:
        return _text(node.values[0])
    return ""


def first_word(text: str) -> str:
    found = re.match(r"[A-Za-z']+", text)
    return found[0].lower() if found else ""


def test_a_description_stands_alone() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}: {text}"
        for path in modules()
        for line, name, text in descriptions(
            ast.parse(path.read_text(encoding="utf-8")), (*SECTIONS, "Raises:")
        )
        if first_word(text) in BARE
    ]
    assert not wrong, "\n".join(wrong)


def test_a_module_says_what_it_is() -> None:
    wrong = []
    for path in modules():
        source = path.read_text(encoding="utf-8")
        words = ast.get_docstring(ast.parse(source)) or ""
        empty = path.name == "__init__.py" and not source.strip()
        if not empty and (not words or first_word(words) in NO_FIRST_WORD):
            wrong.append(f"{path.relative_to(ROOT)}: {words.splitlines()[:1]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('def f():\n    """Do.\n\n    Args:\n        a: of the trial.\n    """', ["of the trial."]),
        ('class A:\n    """I.\n\n    Attributes:\n      a: x\n        of it.\n    """', ["x"]),
        ('f(0, description="What is.")', ["What is."]),
        ('f("--x", help=f"as {y}")', ["as "]),
        ('"""M.\n\nArgs:\n    a: one.\n\nRaises:\n    E: as b.\n"""', ["one."]),
    ],
)  # fmt: skip
def test_the_rule_would_notice(source: str, found: list[str]) -> None:
    assert [text for _, _, text in descriptions(ast.parse(source))] == found
    assert first_word("Of it") in BARE and first_word("often it") not in BARE
