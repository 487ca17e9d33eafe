"""The layout of a street scene: shapes of each class, from back to front."""

import numpy as np

from stvm.data.streets.objects import OBJECTS
from stvm.data.streets.shapes import Shape, Street
from stvm.data.streets.styles import Style

# Mean number of objects in an image; numbers in MOVING are multiplied by the style's crowd.
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


def lay_out(rng: np.random.Generator, style: Style, height: int, width: int) -> list[Shape]:
    """Shapes of one street, in painting order.

    Args:
        rng: Generator of all draws.
        style: Style whose layout part is used.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
    """
    street = Street(rng, style, height, width)
    street.thing()
    street.add("sky", "box", ((0, 0), (width, height)))
    for side in (-1, 1):
        _roadside(street, side)
    _ground(street)
    for side in (-1, 1):
        _barriers(street, side)
    for depth, name in sorted(_objects(street)):
        street.thing()
        OBJECTS[name](street, depth)
    return street.shapes


def _objects(street: Street) -> list[tuple[float, str]]:
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


def _roadside(street: Street, side: int) -> None:
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


def _barriers(street: Street, side: int) -> None:
    """Sometimes a wall, sometimes a fence, behind everything that stands on the ground."""
    for name, chance, tall in (("wall", 0.36, 0.13), ("fence", 0.42, 0.12)):
        if street.rng.random() < chance:
            _barrier(street, side, name, tall)


def _house(street: Street, left: float, right: float, foot: float) -> None:
    rng = street.rng
    tall = street.height * float(rng.uniform(0.2, 0.5))
    street.add("building", "box", ((left, foot - tall), (right, foot + 3)))
    step = max(3.0, (right - left) / 4)
    for x in np.arange(left + 1.5, right - 2, step):
        for y in np.arange(foot - tall + 2, foot - 2, 5):
            street.add("building", "box", ((x, y), (x + step / 2 - 0.5, y + 1.6)), 0.6)


def _trees(street: Street, left: float, right: float, foot: float) -> None:
    rng = street.rng
    for _ in range(4):
        x = float(rng.uniform(left, right))
        radius = street.height * float(rng.uniform(0.06, 0.13))
        y = foot - float(rng.uniform(0, 0.18)) * street.height
        street.disc("vegetation", x, y, radius, float(rng.uniform(0.8, 1.15)))
    street.add("vegetation", "box", ((left, foot - 3), (right, foot + 3)), 0.85)


def _barrier(street: Street, side: int, name: str, tall: float) -> None:
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


def _ground(street: Street) -> None:
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
