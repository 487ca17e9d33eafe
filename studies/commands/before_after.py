"""The picture of an adaptation: images, predictions before and after, and a legend."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stvm.files import write_whole

CELL = (480, 360)
"""Largest width and height of one picture."""
GAP, HEADING, LINE, TEXT = 8, 28, 26, 16
"""Pixels between pictures, of the headings' height, of a line of the legend, and of the letters."""
TITLES = ("image", "source model", "after adaptation")

Labels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Shown:
    """A row of the picture.

    Attributes:
        image: RGB image at its own size.
        before: class ids (H, W) that the source model predicts.
        after: class ids (H, W) that the adapted network predicts.
    """

    image: Image.Image
    before: Labels
    after: Labels

    def size(self) -> tuple[int, int]:
        """Width and height of each of its pictures."""
        width, height = self.image.size
        scale = min(CELL[0] / width, CELL[1] / height)
        return max(1, round(width * scale)), max(1, round(height * scale))


def draw_before_after(rows: Sequence[Shown], names: Sequence[str], palette: Labels) -> Image.Image:
    """The picture: a row for each image, and below them the classes that occur in it.

    Args:
        rows: images with their predictions.
        names: names of the classes by id.
        palette: RGB colours (256, 3) of the ids.
    """
    present = np.unique(np.concatenate([ids.ravel() for r in rows for ids in (r.before, r.after)]))
    width = max(row.size()[0] for row in rows)
    whole = 3 * width + 4 * GAP
    places = _legend_places([names[i] for i in present], whole)
    legend = HEADING + sum(row.size()[1] + GAP for row in rows)
    height = legend + (places[-1][1] + LINE if places else 0) + GAP
    sheet = Image.new("RGB", (whole, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    for column, title in enumerate(TITLES):
        pen.text((GAP + column * (width + GAP), 5), title, "black", font)
    top = HEADING
    for row in rows:
        for column, picture in enumerate(_pictures(row, palette)):
            sheet.paste(picture, (GAP + column * (width + GAP), top))
        top += row.size()[1] + GAP
    for number, (left, down) in zip(present, places, strict=True):
        box = (left, legend + down + 3, left + TEXT + 4, legend + down + TEXT + 7)
        pen.rectangle(box, tuple(palette[number].tolist()), "black")
        pen.text((left + TEXT + 10, legend + down + 3), names[number], "black", font)
    return sheet


def _pictures(row: Shown, palette: Labels) -> list[Image.Image]:
    nearest = Image.Resampling.NEAREST
    maps = [Image.fromarray(palette[ids]).resize(row.size(), nearest) for ids in
            (row.before, row.after)]  # fmt: skip
    return [row.image.resize(row.size(), Image.Resampling.BILINEAR), *maps]


def _legend_places(names: Sequence[str], width: int) -> list[tuple[int, int]]:
    """Left and upper end of each entry of the legend, in lines of this width."""
    font, places = ImageFont.load_default(TEXT), []
    left = top = 0
    for name in names:
        needed = TEXT + 10 + round(font.getlength(name)) + 3 * GAP
        if left and GAP + left + needed > width:
            left, top = 0, top + LINE
        places.append((GAP + left, top))
        left += needed
    return places


def write_before_after(
    rows: Sequence[Shown], names: Sequence[str], palette: Labels, path: Path
) -> None:
    """Write the picture as PNG, whole or not at all.

    Raises:
        StvmError: no space, no permission.
    """
    content = io.BytesIO()
    draw_before_after(rows, names, palette).save(content, "PNG")
    write_whole(path, content.getbuffer())
