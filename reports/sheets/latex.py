"""A sheet as LaTeX: one table, or a document of several; the same sheet gives the same bytes."""

import re
from collections.abc import Sequence

from reports.sheets.sheet import Cell, Sheet, column_title

_LATEX = str.maketrans(
    {c: "\\" + c for c in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': "''",
        "†": r"$^\dagger$",
        "‡": r"$^\ddagger$",
        "§": r"$^\S$",
        "Δ": r"$\Delta$",
        "ρ": r"$\rho$",
        "→": r"$\to$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "−": r"$-$",
        "✓": r"$\bullet$",
        "✗": r"$\times$",
        "–": "--",
        "—": "---",
        "…": r"\ldots{}",
    }
)
_SIGNED = re.compile(r"[+-][\d.]+|\[[+\d., -]+\]")
_LONGEST = 40
"""Most rows on a page; more become a `longtable`."""
_UPRIGHT = (
    (95, r"\small\setlength{\tabcolsep}{3pt}"),
    (118, r"\footnotesize\setlength{\tabcolsep}{2pt}"),
)
"""Most characters in a line of an upright page, with the size of the text."""
_ASIDE = ((142, _UPRIGHT[0][1]), (177, _UPRIGHT[1][1]))
"""Most characters in a line of a page on its side, with the size of the text."""
_SMALLEST = r"\scriptsize\setlength{\tabcolsep}{2pt}"
_TALLEST = 30
"""Most rows on a page that lies on its side."""
_NUMBERED = re.compile(r"(Table|Fig\.) ([IVX]+|\d+)\b[:,]? *(.*)", re.DOTALL)
PACKAGES = ("booktabs", "longtable", "rotating")


def _known(character: str) -> str:
    return character if ord(character) < 0x180 or ord(character) in _LATEX else "?"


def escape_latex(text: str) -> str:
    """Plain text for LaTeX, in one line; a sign that pdflatex cannot set becomes `?`."""
    line = "".join(map(_known, " ".join(text.split())))
    # Hyphens first: a dash of the table's own must survive.
    return line.replace("--", "-\0-").translate(_LATEX).replace("\0", "{}")


def _latex_cell(cell: Cell) -> str:
    text = escape_latex(cell.text)
    if _SIGNED.fullmatch(cell.text):
        text = f"${text}$"
    marks = {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}"}
    return marks.get(cell.mark, text)


def _latex_rows(sheet: Sheet) -> list[str]:
    lines = []
    for number, row in enumerate(sheet.rows):
        lines += [r"\midrule"] if number in sheet.breaks else []
        # A row that begins with a bracket would be read as the optional argument of `\\`.
        lines.append(" & ".join(map(_latex_cell, row)) + r" \\")
    return lines


def _width(sheet: Sheet) -> int:
    """Number of characters in the widest line of a table."""
    widths = [
        max([len(column_title(column)), *(len(row[i].text) for row in sheet.rows)])
        for i, column in enumerate(sheet.columns)
    ]
    return sum(widths) + 2 * len(widths)


def _setting(sheet: Sheet) -> tuple[str, bool]:
    """Size of the text, and whether the table lies on its side, which spares very small text."""
    width = _width(sheet)
    aside = width > _UPRIGHT[-1][0] and len(sheet.rows) <= _TALLEST
    for most, style in _ASIDE if aside else _UPRIGHT:
        if width <= most:
            return style, aside
    return _SMALLEST, aside


def _caption(sheet: Sheet) -> tuple[list[str], str]:
    """Lines before the caption, and the caption with its label.

    A table of the paper keeps its number; without these lines LaTeX would count anew.
    """
    numbered = _NUMBERED.fullmatch(sheet.title)
    title, before = sheet.title, []
    if numbered:
        kind, count, title = numbered.groups()
        before = [rf"\renewcommand{{\tablename}}{{{kind}}}\renewcommand{{\thetable}}{{{count}}}"]
    text = ". ".join(part for part in (title[:1].upper() + title[1:], sheet.caption) if part)
    label = rf"\label{{tab:{re.sub('[^a-z0-9]', '-', sheet.name)}}}"
    return before, rf"\caption{{{escape_latex(text)}}}{label}"


def _long_table(
    spec: str, caption: Sequence[str], head: Sequence[str], body: list[str]
) -> list[str]:
    """Lines of a table over several pages, each with the head."""
    *before, last = caption
    return [
        *before,
        rf"\begin{{longtable}}{{{spec}}}",
        rf"{last}\\",
        *head,
        r"\endfirsthead",
        *head,
        r"\endhead",
        r"\bottomrule",
        r"\endlastfoot",
        *body,
        r"\end{longtable}",
    ]


def _one_page_table(
    spec: str, caption: Sequence[str], head: Sequence[str], body: list[str]
) -> list[str]:
    return [
        *caption,
        rf"\begin{{tabular}}{{{spec}}}",
        *head,
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]


def to_latex(sheet: Sheet) -> str:
    """A booktabs table with rule and notes; more than a page of rows become a `longtable`.

    A table that is too wide for a page lies on its side.
    """
    spec = "".join(column.align[0] for column in sheet.columns)
    before, caption = _caption(sheet)
    head = [r"\toprule", " & ".join(escape_latex(column_title(c)) for c in sheet.columns) + r" \\"]
    head.append(r"\midrule")
    notes = [f"Rule: {sheet.rule}"] * bool(sheet.rule) + list(sheet.notes)
    small = [escape_latex(note) + r"\par" for note in notes]
    style, aside = _setting(sheet)
    parts = spec, [*before, caption], head, _latex_rows(sheet)
    if len(sheet.rows) > _LONGEST:
        lines = [
            rf"\begingroup{style}\setlength{{\LTcapwidth}}{{\linewidth}}",
            *_long_table(*parts),
            r"\noindent\begin{minipage}{\linewidth}\footnotesize",
            *small,
            r"\end{minipage}\par\endgroup",
        ]
    else:
        table, where = ("sidewaystable", "[p]") if aside else ("table", "[htbp]")
        lines = [
            rf"\begin{{{table}}}{where}",
            rf"\centering{style}",
            *_one_page_table(*parts),
            r"\par\smallskip\begin{minipage}{\linewidth}\footnotesize",
            *small,
            r"\end{minipage}",
            rf"\end{{{table}}}",
        ]
    # By its beginning an earlier table is known.
    needs = "% needs " + " ".join(rf"\usepackage{{{name}}}" for name in PACKAGES)
    return "\n".join([needs, *lines]) + "\n"


def to_document(sheets: Sequence[Sheet]) -> str:
    """All tables as one LaTeX document, which pdflatex compiles as it is."""
    packages = [rf"\usepackage{{{name}}}" for name in ("textcomp", *PACKAGES)]
    return "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage[T1]{fontenc}",
            r"\usepackage[utf8]{inputenc}",
            r"\usepackage[a4paper,margin=18mm]{geometry}",
            r"\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}",
            *packages,
            r"\begin{document}",
            *("\n" + to_latex(sheet) + r"\clearpage" for sheet in sheets),
            r"\end{document}",
            "",
        ]
    )
