"""The shapes of a street scene, and the perspective in which they are placed."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stvm.data.cityscapes import CITYSCAPES
from stvm.data.streets.styles import Style

ID = {name: i for i, name in enumerate(CITYSCAPES)}


@dataclass(frozen=True)
class Shape:
    """One shape to be painted.

    Attributes:
        label: Class id.
        kind: Kind of the shape.
        points: Points (x, y) in pixels: corners of a polygon, or two corners of a box or ellipse.
        shade: Factor on the object's colour.
        thing: Number of the object that the shape belongs to; its shapes share one colour.
    """

    label: int
    kind: Literal["polygon", "box", "ellipse"]
    points: tuple[tuple[float, float], ...]
    shade: float
    thing: int


class Street:
    """Collects the shapes of one scene."""

    def __init__(self, rng: np.random.Generator, style: Style, height: int, width: int) -> None:
        self.rng = rng
        self.style = style
        self.height = height
        self.width = width
        self.shapes: list[Shape] = []
        self.things = 0
        self.horizon = height * float(np.clip(rng.normal(style.horizon, 0.04), 0.25, 0.6))
        self.vanish = width * float(rng.normal(0.5, 0.08))
        self.half = width * float(np.clip(rng.normal(style.road, 0.08), 0.25, 0.9))
        self.kerb = self.half * float(rng.uniform(1.35, 1.8))

    def thing(self) -> None:
        self.things += 1

    def add(
        self,
        name: str,
        kind: Literal["polygon", "box", "ellipse"],
        points: object,
        shade: float = 1.0,
    ) -> None:
        corners = tuple((float(x), float(y)) for x, y in points)  # type: ignore[attr-defined]
        self.shapes.append(Shape(ID[name], kind, corners, shade, self.things))

    def box(self, name: str, x: float, y: float, w: float, h: float, shade: float = 1.0) -> None:
        """A box whose lower edge is centred on (x, y)."""
        self.add(name, "box", ((x - w / 2, y - h), (x + w / 2, y)), shade)

    def disc(self, name: str, x: float, y: float, r: float, shade: float = 1.0) -> None:
        self.add(name, "ellipse", ((x - r, y - r), (x + r, y + r)), shade)

    def scale(self, y: float) -> float:
        """Pixels that an object one image high at the lower edge has at ground row y."""
        return self.height * (y - self.horizon) / (self.height - self.horizon)

    def edge(self, y: float, side: int, reach: float) -> float:
        """Column of the line from the vanishing point to `reach` beside it at the lower edge."""
        return self.vanish + side * reach * (y - self.horizon) / (self.height - self.horizon)
