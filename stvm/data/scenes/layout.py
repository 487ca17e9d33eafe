"""What stands where in a street: shapes of each class, back to front."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stvm.data.scenes.styles import CLASSES, Style

ID = {name: i for i, name in enumerate(CLASSES)}

# Mean number of objects in an image; those that people and traffic decide grow with the crowd.
STANDING = {"pole": 2.2, "traffic light": 0.55, "traffic sign": 0.9}
MOVING = {
    "car": 1.8,
    "truck": 0.4,
    "bus": 0.38,
    "train": 0.36,
    "person": 2.0,
    "motorcycle": 0.5,
    "bicycle": 0.6,
}
RIDDEN = 0.55


@dataclass(frozen=True)
class Shape:
    """One primitive.

    Attributes:
        label: class id.
        kind: what `points` mean: corners of a polygon, or two corners of a box or an ellipse.
        points: (x, y) in pixels.
        shade: factor on the object's colour.
        thing: number of the object, whose parts share one colour.
    """

    label: int
    kind: Literal["polygon", "box", "ellipse"]
    points: tuple[tuple[float, float], ...]
    shade: float
    thing: int


class _Street:
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


def lay_out(rng: np.random.Generator, style: Style, height: int, width: int) -> list[Shape]:
    """Shapes of one street, in painting order.

    Args:
        rng: every draw comes from it.
        style: its layout part is used.
        height: of the image in pixels.
        width: of the image in pixels.
    """
    street = _Street(rng, style, height, width)
    street.thing()
    street.add("sky", "box", ((0, 0), (width, height)))
    for side in (-1, 1):
        _roadside(street, side)
    _ground(street)
    for side in (-1, 1):
        _barriers(street, side)
    for depth, name in sorted(_objects(street)):
        street.thing()
        _OBJECTS[name](street, depth)
    return street.shapes


def _objects(street: _Street) -> list[tuple[float, str]]:
    """Ground row and class of each object that stands on the ground."""
    rng, style = street.rng, street.style
    counts = dict(STANDING) | {name: n * style.crowd for name, n in MOVING.items()}
    nearness = style.nearness
    rows = []
    for name, mean in counts.items():
        for _ in range(int(rng.poisson(mean))):
            near = float(rng.beta(3 * nearness / (1 - nearness), 3))
            near = 0.14 + 0.8 * near
            rows.append((street.horizon + near * (street.height - street.horizon), name))
    return rows


def _roadside(street: _Street, side: int) -> None:
    """Houses, trees, walls and fences from the horizon outwards on one side."""
    rng, height = street.rng, street.height
    far = street.vanish + side * street.width * float(rng.uniform(0.02, 0.08))
    edge = street.width if side > 0 else 0.0
    x = far
    while (edge - x) * side > 0:
        away = abs(x - street.vanish) / street.width
        span = street.width * float(rng.uniform(0.07, 0.17)) * (0.6 + away)
        foot = street.horizon + height * 0.16 * away
        left, right = sorted((x, x + side * span))
        street.thing()
        kind = rng.random()
        if kind < 0.58:
            _house(street, left, right, foot)
        elif kind < 0.85:
            _trees(street, left, right, foot)
        x += side * span


def _barriers(street: _Street, side: int) -> None:
    """Sometimes a wall, sometimes a fence, behind everything that stands on the ground."""
    for name, chance, tall in (("wall", 0.36, 0.13), ("fence", 0.42, 0.12)):
        if street.rng.random() < chance:
            _barrier(street, side, name, tall)


def _house(street: _Street, left: float, right: float, foot: float) -> None:
    rng = street.rng
    tall = street.height * float(rng.uniform(0.2, 0.5))
    street.add("building", "box", ((left, foot - tall), (right, foot + 3)))
    step = max(3.0, (right - left) / 4)
    for x in np.arange(left + 1.5, right - 2, step):
        for y in np.arange(foot - tall + 2, foot - 2, 5):
            street.add("building", "box", ((x, y), (x + step / 2 - 0.5, y + 1.6)), 0.6)


def _trees(street: _Street, left: float, right: float, foot: float) -> None:
    rng = street.rng
    for _ in range(4):
        x = float(rng.uniform(left, right))
        radius = street.height * float(rng.uniform(0.06, 0.13))
        y = foot - float(rng.uniform(0, 0.18)) * street.height
        street.disc("vegetation", x, y, radius, float(rng.uniform(0.8, 1.15)))
    street.add("vegetation", "box", ((left, foot - 3), (right, foot + 3)), 0.85)


def _barrier(street: _Street, side: int, name: str, tall: float) -> None:
    """A wall, or a fence of slats, along the outer edge of the pavement."""
    street.thing()
    reach = street.kerb * float(street.rng.uniform(1.0, 1.25))
    near, far = sorted(street.rng.uniform(0.08, 0.8, 2), reverse=True)
    if near - far < 0.2:
        near = far + 0.2
    corners = []
    for depth in (far, near):
        y = street.horizon + depth * (street.height - street.horizon)
        corners.append((street.edge(y, side, reach), y, y - 3 - tall * 2.2 * street.scale(y)))
    (x0, y0, t0), (x1, y1, t1) = corners
    street.add(name, "polygon", ((x0, y0), (x1, y1), (x1, t1), (x0, t0)))
    if name == "wall":
        street.add(name, "polygon", ((x0, t0), (x1, t1), (x1, t1 + 1), (x0, t0 + 1)), 0.8)
        return
    for share in np.linspace(0, 1, max(3, int(abs(x1 - x0) / 3))):
        x, y, t = (1 - share) * np.array(corners[0]) + share * np.array(corners[1])
        street.add(name, "box", ((x, t), (x + 0.9, y)), 0.55)


def _ground(street: _Street) -> None:
    """Terrain or pavement to the edges of the image, then the road with its markings."""
    rng, height, width = street.rng, street.height, street.width
    top = street.horizon + 2
    for side in (-1, 1):
        edge = width if side > 0 else 0
        street.thing()
        outer = "terrain" if rng.random() < 0.6 else "sidewalk"
        for name, reach in ((outer, 6 * width), ("sidewalk", street.kerb)):
            street.thing()
            street.add(
                name,
                "polygon",
                (
                    (street.edge(top, side, 0), top),
                    (street.edge(top, side, reach), top),
                    (street.edge(height, side, reach), height),
                    (edge if name == outer else street.vanish, height),
                    (street.vanish, height),
                ),
            )
    street.thing()
    corners = [
        (street.edge(y, s, street.half), y)
        for y, s in ((top, -1), (top, 1), (height, 1), (height, -1))
    ]
    street.add("road", "polygon", corners)
    for near in (0.15, 0.3, 0.5, 0.75):
        y = street.horizon + near * (height - street.horizon)
        reach = 0.02 * street.scale(y)
        street.add(
            "road",
            "polygon",
            (
                (street.vanish - reach, y),
                (street.vanish + reach, y),
                (street.vanish + 1.3 * reach, y * 1.05),
                (street.vanish - 1.3 * reach, y * 1.05),
            ),
            1.7,
        )


def _on_road(street: _Street, y: float) -> float:
    return street.edge(y, 1, street.half * float(street.rng.uniform(-0.85, 0.85)))


def _on_pavement(street: _Street, y: float) -> float:
    side = 1 if street.rng.random() < 0.5 else -1
    return street.edge(y, side, street.half * float(street.rng.uniform(0.95, 1.5)))


def _pole(street: _Street, y: float) -> tuple[float, float]:
    """A pole; its column and the row of its top."""
    x, s = _on_pavement(street, y), street.scale(y)
    tall = 3 + s * float(street.rng.uniform(0.8, 1.1))
    street.box("pole", x, y, max(1.2, 0.05 * s), tall)
    return x, y - tall


def _plain_pole(street: _Street, y: float) -> None:
    _pole(street, y)


def _light(street: _Street, y: float) -> None:
    x, top = _pole(street, y)
    s = max(street.scale(y), 16)
    street.thing()
    street.box("traffic light", x, top + 0.3 * s, 0.14 * s, 0.32 * s)
    lamp = int(street.rng.integers(3))
    street.disc("traffic light", x, top + (0.03 + 0.1 * lamp) * s, 0.045 * s, 4.5)


def _sign(street: _Street, y: float) -> None:
    x, top = _pole(street, y)
    r = 0.12 * max(street.scale(y), 16)
    street.thing()
    kind = street.rng.integers(3)
    if kind == 0:
        street.disc("traffic sign", x, top, r)
        street.disc("traffic sign", x, top, r / 2, 0.6)
    elif kind == 1:
        street.add("traffic sign", "polygon", ((x, top - r), (x + r, top + r), (x - r, top + r)))
    else:
        street.box("traffic sign", x, top + r, 2 * r, 2 * r)
        street.box("traffic sign", x, top + r / 3, 1.4 * r, r / 2, 0.6)


def _wheels(street: _Street, name: str, x: float, y: float, w: float, r: float) -> None:
    for side in (-1, 1):
        street.disc(name, x + side * w * 0.32, y - r * 0.6, r, 0.3)


def _car(street: _Street, y: float) -> None:
    x, s = _on_road(street, y), street.scale(y)
    w, h = s * float(street.rng.uniform(0.5, 0.7)), 0.3 * s
    top = y - h
    street.box("car", x, y - 0.03 * s, w, 0.6 * h)
    roof = (
        (x - 0.38 * w, y - 0.6 * h),
        (x - 0.26 * w, top),
        (x + 0.26 * w, top),
        (x + 0.38 * w, y - 0.6 * h),
    )
    street.add("car", "polygon", roof)
    street.box("car", x, y - 0.6 * h, 0.5 * w, 0.28 * h, 0.45)
    _wheels(street, "car", x, y, w, 0.06 * s)


def _truck(street: _Street, y: float) -> None:
    x, s = _on_road(street, y), street.scale(y)
    w, h = s * float(street.rng.uniform(0.75, 0.95)), 0.62 * s
    side = 1 if street.rng.random() < 0.5 else -1
    street.box("truck", x - side * 0.14 * w, y - 0.06 * s, 0.72 * w, h)
    street.box("truck", x + side * 0.38 * w, y - 0.06 * s, 0.24 * w, 0.62 * h, 0.75)
    street.box("truck", x + side * 0.4 * w, y - 0.36 * s, 0.18 * w, 0.18 * h, 0.4)
    _wheels(street, "truck", x, y, w, 0.08 * s)


def _bus(street: _Street, y: float) -> None:
    x, s = _on_road(street, y), street.scale(y)
    w, h = s * float(street.rng.uniform(0.8, 1.0)), 0.6 * s
    street.box("bus", x, y - 0.05 * s, w, h)
    for column in np.linspace(-0.38, 0.38, 5):
        street.box("bus", x + column * w, y - 0.36 * s, 0.14 * w, 0.3 * h, 0.4)
    _wheels(street, "bus", x, y, w, 0.07 * s)


def _train(street: _Street, y: float) -> None:
    """Long, low on the ground, striped: beside the road, so that often its ends are cut off."""
    s = street.scale(y)
    side = 1 if street.rng.random() < 0.5 else -1
    x = street.edge(y, side, street.half * float(street.rng.uniform(0.6, 1.4)))
    w, h = s * float(street.rng.uniform(1.6, 2.4)), 0.66 * s
    street.box("train", x, y, w, h)
    street.box("train", x, y - 0.36 * s, w, 0.2 * h, 0.45)
    street.box("train", x, y - 0.1 * s, w, 0.1 * h, 0.7)


def _body(street: _Street, name: str, x: float, y: float, tall: float) -> None:
    street.box(name, x, y, max(1.4, 0.22 * tall), 0.5 * tall, 0.6)
    street.box(name, x, y - 0.42 * tall, max(2.0, 0.34 * tall), 0.4 * tall)
    street.disc(name, x, y - 0.88 * tall, max(0.9, 0.12 * tall), 1.15)


def _person(street: _Street, y: float) -> None:
    x = _on_pavement(street, y) if street.rng.random() < 0.75 else _on_road(street, y)
    tall = 2 + street.scale(y) * float(street.rng.uniform(0.42, 0.52))
    _body(street, "person", x, y, tall)


def _rider(street: _Street, x: float, y: float) -> None:
    if street.rng.random() < RIDDEN:
        street.thing()
        s = street.scale(y) + 2
        _body(street, "rider", x, y - 0.12 * s, 0.44 * s)


def _bicycle(street: _Street, y: float) -> None:
    x, s = _on_road(street, y), street.scale(y) + 2
    for side in (-1, 1):
        street.disc("bicycle", x + side * 0.17 * s, y - 0.11 * s, 0.12 * s)
        street.disc("bicycle", x + side * 0.17 * s, y - 0.11 * s, 0.06 * s, 1.8)
    street.box("bicycle", x, y - 0.12 * s, 0.3 * s, max(1.0, 0.06 * s), 0.8)
    _rider(street, x, y)


def _motorcycle(street: _Street, y: float) -> None:
    x, s = _on_road(street, y), street.scale(y) + 2
    street.box("motorcycle", x, y - 0.08 * s, 0.4 * s, 0.16 * s, 1.3)
    for side in (-1, 1):
        street.disc("motorcycle", x + side * 0.19 * s, y - 0.09 * s, 0.1 * s, 0.5)
    _rider(street, x, y)


_OBJECTS = {
    "pole": _plain_pole,
    "traffic light": _light,
    "traffic sign": _sign,
    "car": _car,
    "truck": _truck,
    "bus": _bus,
    "train": _train,
    "person": _person,
    "bicycle": _bicycle,
    "motorcycle": _motorcycle,
}
