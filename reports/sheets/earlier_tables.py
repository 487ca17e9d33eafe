"""Tables of an earlier run, told from files of a user by what stands at their beginning."""

import re
from collections.abc import Callable
from pathlib import Path

_TEX = re.compile(
    rb"(?:\\documentclass\{article\}\n(?:\\(?:usepackage|IfFileExists).*\n)+"
    rb"\\begin\{document\}\n\n)?% needs \\usepackage\{"
)
"""A table, or the document of all tables."""
_MARKDOWN = re.compile(
    rb"# .+\n\n.*\b[0-9a-f]{12}\b.*\n\n(?:Rule: .+\n\n)?\| .+ \|\n\|:-[-:|]+\|\n"
)
"""Title, caption with the base of a study, rule, and a table whose columns are all aligned."""


def is_earlier_table(path: Path, text: str) -> Callable[[bytes], bool]:
    """A function that tells from a file's beginning whether it is a table of an earlier run.

    Args:
        path: the file, of ending .md, .csv or .tex; others are never a table.
        text: text that is to replace it.
    """
    if path.suffix == ".md":
        return lambda head: bool(_MARKDOWN.match(head)) or _same_heading(head, text)
    if path.suffix == ".csv":
        return lambda head: _same_columns(head, text)
    return lambda head: path.suffix == ".tex" and bool(_TEX.match(head))


def _same_heading(head: bytes, text: str) -> bool:
    old, new = head.partition(b"\n\n| "), text.encode().partition(b"\n\n| ")
    return bool(old[1]) and old[0] == new[0]


def _same_columns(head: bytes, text: str) -> bool:
    """Whether most columns are the same, the first above all: versions add columns."""
    old, new = (_columns(one) for one in (head.decode(errors="replace"), text))
    return old[:1] == new[:1] and 2 * len({*old} & {*new}) > min(len(old), len(new))


def _columns(text: str) -> list[str]:
    return text.partition("\n")[0].rstrip("\r").split(",")
