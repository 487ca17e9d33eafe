"""The objects of a street scene: poles, signs, vehicles and people."""

import numpy as np

from stvm.data.streets.shapes import Street

RIDDEN = 0.55
"""Share of bicycles and motorcycles that carry a rider."""


def _on_road(street: Street, y: float) -> float:
    return street.edge(y, 1, street.half * float(street.rng.uniform(-0.85, 0.85)))


def _on_pavement(street: Street, y: float) -> float:
    side = 1 if street.rng.random() < 0.5 else -1
    return street.edge(y, side, street.half * float(street.rng.uniform(0.95, 1.5)))


def _pole(street: Street, y: float) -> tuple[float, float]:
    """Adds a pole; returns its column and the row of its top."""
    x, s = _on_pavement(street, y), street.scale(y)
    tall = 3 + s * float(street.rng.uniform(0.8, 1.1))
    street.box("pole", x, y, max(1.2, 0.05 * s), tall)
    return x, y - tall


def _plain_pole(street: Street, y: float) -> None:
    _pole(street, y)


def _light(street: Street, y: float) -> None:
    x, top = _pole(street, y)
    s = max(street.scale(y), 16)
    street.thing()
    street.box("traffic light", x, top + 0.3 * s, 0.14 * s, 0.32 * s)
    lamp = int(street.rng.integers(3))
    street.disc("traffic light", x, top + (0.03 + 0.1 * lamp) * s, 0.045 * s, 4.5)


def _sign(street: Street, y: float) -> None:
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


def _wheels(street: Street, name: str, x: float, y: float, w: float, r: float) -> None:
    for side in (-1, 1):
        street.disc(name, x + side * w * 0.32, y - r * 0.6, r, 0.3)


def _car(street: Street, y: float) -> None:
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


def _truck(street: Street, y: float) -> None:
    x, s = _on_road(street, y), street.scale(y)
    w, h = s * float(street.rng.uniform(0.75, 0.95)), 0.62 * s
    side = 1 if street.rng.random() < 0.5 else -1
    street.box("truck", x - side * 0.14 * w, y - 0.06 * s, 0.72 * w, h)
    street.box("truck", x + side * 0.38 * w, y - 0.06 * s, 0.24 * w, 0.62 * h, 0.75)
    street.box("truck", x + side * 0.4 * w, y - 0.36 * s, 0.18 * w, 0.18 * h, 0.4)
    _wheels(street, "truck", x, y, w, 0.08 * s)


def _bus(street: Street, y: float) -> None:
    x, s = _on_road(street, y), street.scale(y)
    w, h = s * float(street.rng.uniform(0.8, 1.0)), 0.6 * s
    street.box("bus", x, y - 0.05 * s, w, h)
    for column in np.linspace(-0.38, 0.38, 5):
        street.box("bus", x + column * w, y - 0.36 * s, 0.14 * w, 0.3 * h, 0.4)
    _wheels(street, "bus", x, y, w, 0.07 * s)


def _train(street: Street, y: float) -> None:
    """Long, low on the ground, striped: beside the road, so that often its ends are cut off."""
    s = street.scale(y)
    side = 1 if street.rng.random() < 0.5 else -1
    x = street.edge(y, side, street.half * float(street.rng.uniform(0.6, 1.4)))
    w, h = s * float(street.rng.uniform(1.6, 2.4)), 0.66 * s
    street.box("train", x, y, w, h)
    street.box("train", x, y - 0.36 * s, w, 0.2 * h, 0.45)
    street.box("train", x, y - 0.1 * s, w, 0.1 * h, 0.7)


def _body(street: Street, name: str, x: float, y: float, tall: float) -> None:
    street.box(name, x, y, max(1.4, 0.22 * tall), 0.5 * tall, 0.6)
    street.box(name, x, y - 0.42 * tall, max(2.0, 0.34 * tall), 0.4 * tall)
    street.disc(name, x, y - 0.88 * tall, max(0.9, 0.12 * tall), 1.15)


def _person(street: Street, y: float) -> None:
    x = _on_pavement(street, y) if street.rng.random() < 0.75 else _on_road(street, y)
    tall = 2 + street.scale(y) * float(street.rng.uniform(0.42, 0.52))
    _body(street, "person", x, y, tall)


def _rider(street: Street, x: float, y: float) -> None:
    if street.rng.random() < RIDDEN:
        street.thing()
        s = street.scale(y) + 2
        _body(street, "rider", x, y - 0.12 * s, 0.44 * s)


def _bicycle(street: Street, y: float) -> None:
    x, s = _on_road(street, y), street.scale(y) + 2
    for side in (-1, 1):
        street.disc("bicycle", x + side * 0.17 * s, y - 0.11 * s, 0.12 * s)
        street.disc("bicycle", x + side * 0.17 * s, y - 0.11 * s, 0.06 * s, 1.8)
    street.box("bicycle", x, y - 0.12 * s, 0.3 * s, max(1.0, 0.06 * s), 0.8)
    _rider(street, x, y)


def _motorcycle(street: Street, y: float) -> None:
    x, s = _on_road(street, y), street.scale(y) + 2
    street.box("motorcycle", x, y - 0.08 * s, 0.4 * s, 0.16 * s, 1.3)
    for side in (-1, 1):
        street.disc("motorcycle", x + side * 0.19 * s, y - 0.09 * s, 0.1 * s, 0.5)
    _rider(street, x, y)


OBJECTS = {
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
"""How each class is drawn, with its foot on a ground row."""
