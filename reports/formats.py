"""Table IV as Markdown, LaTeX and CSV; the same table gives the same bytes."""

import csv
import io
from collections.abc import Iterable

from tabulate import tabulate

from reports.paired import Estimate
from reports.table4 import TOGGLES, Row, Section, Table

COLUMNS = [
    "name", *TOGGLES, "miou_mean", "miou_std", "n", "delta", "delta_low", "delta_high",
    "paper_miou", "paper_delta",
]  # fmt: skip
_HEADER = [
    "Name", "ST", "Aug", "MT", "MGS", "MOCM", "mIoU", "sd", "n", "Δ", "95 % interval",
    "paper mIoU †", "paper Δ †",
]  # fmt: skip
_MARKDOWN = str.maketrans({c: "\\" + c for c in "\\`*<"})
_LATEX = str.maketrans(
    {c: "\\" + c for c in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "†": r"$^\dagger$",
        "Δ": r"$\Delta$",
        "→": r"$\to$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "−": r"$-$",
    }
)


def escape_latex(text: str) -> str:
    """Plain text for LaTeX, in one line."""
    return " ".join(text.split()).translate(_LATEX).replace("--", "-{}-")


def _plain(text: str) -> str:
    return " ".join(text.split()).translate(_MARKDOWN)


def number(value: float | None, scale: float = 100, sign: bool = False, digits: int = 1) -> str:
    """Empty for None; a rounded zero has no sign."""
    if value is None:
        return ""
    rounded = round(value * scale, digits) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''}.{digits}f}"


def _interval(delta: Estimate) -> str:
    if delta.low is None:
        return ""
    return f"[{number(delta.low, sign=True)}, {number(delta.high, sign=True)}]"


def count(row: Row) -> str:
    """'3', or '2 of 3, 1 failed' where trials are missing."""
    if row.miou.n == row.listed:
        return str(row.listed)
    failed = f", {row.failed} failed" if row.failed else ""
    return f"{row.miou.n} of {row.listed}{failed}"


def _cells(row: Row, on: str) -> list[str]:
    return [
        row.label,
        *(on if toggle else "" for toggle in row.paper.toggles),
        number(row.miou.mean),
        number(row.miou.sd),
        count(row),
        number(row.delta.mean, sign=True),
        _interval(row.delta),
        number(row.paper.miou, 1),
        number(row.paper.delta, 1, sign=True),
    ]


def _markdown_rows(section: Section) -> str:
    align = ["left", *["center"] * 5, "right", "right", "left", *["right"] * 4]
    return str(
        tabulate(
            [_cells(row, "✓") for row in section.rows],
            headers=_HEADER,
            tablefmt="pipe",
            colalign=align,
            disable_numparse=True,
        )
    )


def heading(table: Table) -> str:
    """Title with the name of the study."""
    manifest = table.manifest
    return f"{manifest.title} (study {manifest.base}, preset {manifest.preset})"


def to_markdown(table: Table) -> str:
    """Rule, pooled table and notes; then one table a realisation if there are several."""
    tuned = " (tuned on)" if table.pooled.tuned else ""
    parts = [
        f"# Table IV{tuned}",
        _plain(heading(table)),
        f"Rule: {_plain(table.manifest.rule)}",
        _markdown_rows(table.pooled),
        "\n".join(f"- {_plain(note)}" for note in table.notes),
    ]
    if len(table.single) > 1:
        parts.append("## By realisation")
        for section in table.single:
            mark = "tuned on" if section.tuned else "fresh"
            parts.append(f"### Realisation {section.realisations[0]} ({mark})")
            parts.append(_markdown_rows(section))
    return "\n\n".join(parts) + "\n"


def _latex_rows(section: Section) -> list[str]:
    lines = []
    for row in section.rows:
        if row.name == "AdaBN":
            lines.append(r"\midrule")
        name, *toggles = _cells(row, r"$\bullet$")[:6]
        figures = _cells(row, "")[6:]
        signed = [f"${f}$" if f[:1] in ("+", "-", "[") else escape_latex(f) for f in figures]
        lines.append(" & ".join([escape_latex(name), *toggles, *signed]) + r" \\")
    return lines


def to_latex(table: Table) -> str:
    """A `table` environment with a booktabs tabular: pooled rows, rule and notes."""
    notes = [f"Rule: {table.manifest.rule}", *table.notes[1:]]
    caption = f"{heading(table)}. {table.notes[0]}"
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\scriptsize\setlength{\tabcolsep}{2.5pt}",
        rf"\caption{{{escape_latex(caption)}}}",
        r"\label{tab:ablation}",
        r"\begin{tabular}{lcccccrrlrrrr}",
        r"\toprule",
        " &" * 11 + r" \multicolumn{2}{c}{Paper $^\dagger$} \\",
        " & ".join(escape_latex(n) for n in [*_HEADER[:11], "mIoU", "Δ"]) + r" \\",
        r"\midrule",
        *_latex_rows(table.pooled),
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip\begin{minipage}{\linewidth}\footnotesize",
        *(escape_latex(note) + r"\par" for note in notes),
        r"\end{minipage}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _csv_cells(row: Row) -> list[str]:
    figures = (row.delta.mean, row.delta.low, row.delta.high)
    return [
        row.name,
        *(str(int(toggle)) for toggle in row.paper.toggles),
        number(row.miou.mean, digits=4),
        number(row.miou.sd, digits=4),
        str(row.miou.n),
        *(number(figure, digits=4) for figure in figures),
        number(row.paper.miou, 1),
        number(row.paper.delta, 1),
    ]


def _csv(header: list[str], lines: Iterable[list[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()


def to_csv(table: Table) -> str:
    """The pooled rows in per cent; an empty cell is a figure that does not exist."""
    return _csv(COLUMNS, (_csv_cells(row) for row in table.pooled.rows))


def to_csv_by_realisation(table: Table) -> str:
    """As `to_csv`, for each realisation by itself; `tuned` is 0 or 1."""
    return _csv(
        ["realisation", "tuned", *COLUMNS],
        (
            [str(section.realisations[0]), str(int(section.tuned)), *_csv_cells(row)]
            for section in table.single
            for row in section.rows
        ),
    )
