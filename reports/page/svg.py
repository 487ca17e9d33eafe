"""Figures and pictures as HTML that needs no other file."""

import base64
import io
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.edgecolor": "0.35",
    "axes.linewidth": 0.7,
    "xtick.color": "0.2",
    "ytick.color": "0.2",
}
PANEL = (4.5, 3.1)
"""Width and height in inches of a panel that is readable on a phone."""


@dataclass(frozen=True)
class Plot:
    """A figure in the page.

    Attributes:
        html: figure as inline SVG, with a description for readers who do not see it.
        caption: text below the figure.
        wide: whether it takes the whole width of the page.
    """

    html: Markup
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Line:
    """Style of a row; rows differ in line and marker, and only in addition in colour.

    Attributes:
        colour: colour as in "#0b3c8c".
        style: dashes as matplotlib takes them.
        marker: marker as matplotlib takes it.
    """

    colour: str
    style: str
    marker: str


LINES = {
    "Source": Line("#000000", ":", "x"),
    "AdaBN": Line("#7a7a7a", ":", "+"),
    "ST": Line("#8c6d1f", "--", "s"),
    "ST_Aug": Line("#56a0d3", "-.", "^"),
    "ST_MT": Line("#009e73", (0, (5, 1, 1, 1, 1, 1)), "v"),  # type: ignore[arg-type]
    "STvM_Raw": Line("#c4548f", (0, (8, 2)), "D"),  # type: ignore[arg-type]
    "STvM": Line("#0b3c8c", "-", "o"),
    "Oracle": Line("#000000", ":", "*"),
    "partial AdaBN": Line("#7a7a7a", "-.", "1"),
}
_OTHER = tuple(LINES.values())


def line(row: str, number: int = 0) -> Line:
    """Style of `row`; a row that the ablation does not have is styled by its number."""
    return LINES.get(row, _OTHER[number % len(_OTHER)])


def style() -> AbstractContextManager[None]:
    """Context in which figures have the page's style; a `$` in a name stays a `$`."""
    return matplotlib.rc_context(_STYLE)  # type: ignore[arg-type]


def panel(size: tuple[float, float] = PANEL) -> tuple[Figure, Axes]:
    """An empty figure of one panel."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def legend_above(axes: Axes, columns: int) -> None:
    """A legend that covers nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.01),
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        handlelength=3.2,
        borderaxespad=0,
        columnspacing=1.2,
    )


def to_svg(figure: Figure, name: str, alt: str, least: float = 0) -> Markup:
    """The figure as inline SVG; the same figure gives the same bytes.

    Args:
        figure: drawn figure.
        name: name that is unique in the page; it keeps the ids of figures apart.
        alt: description for readers who do not see it.
        least: least width on the screen as a share of its own; below it the figure scrolls.
    """
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.S)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    width = re.search(r'<svg[^>]*?width="([\d.]+)pt"', text)
    points = float(width[1]) if width else 400
    limits = f"max-width:{1.5 * points:.0f}px;min-width:{least * points * 96 / 72:.0f}px"
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    head = f'<svg role="img" aria-label="{escape(alt)}" style="{limits}"'
    return Markup(text.replace("<svg", head, 1).strip())  # noqa: S704


def to_png(pixels: NDArray[np.uint8]) -> str:
    """An image (H, W) or (H, W, 3) as a data URL."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", optimize=True)
    return data_url(stream.getvalue())


def data_url(png: bytes) -> str:
    """The bytes of a PNG file as a URL that needs no file."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
