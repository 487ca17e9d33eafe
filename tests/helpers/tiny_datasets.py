"""Tiny trees of GTA5, SYNTHIA, Cityscapes and NTHU Cross-City in their authors' layouts.

Small streets of the embedded benchmark in the real files' encodings, every class in every labelled
split. The tables of ids are written down here a second time, so that a test which reads a tree
compares two of them.
"""

import io
import struct
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from stvm.data.cityscapes import CITYSCAPES, PALETTE
from stvm.data.streets import SOURCE_STYLE, TARGET_STYLE, Style, interpolate, render_scene

Bytes = NDArray[np.uint8]
Scene = tuple[Bytes, Bytes]

WIDTH, HEIGHT = 128, 64
CITYSCAPES_ID = dict(
    zip(
        CITYSCAPES,
        (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33),
        strict=True,
    )
)
SYNTHIA_ID = dict(
    zip(
        CITYSCAPES, (3, 4, 2, 21, 5, 7, 15, 9, 6, 16, 1, 10, 17, 8, 18, 19, 20, 12, 11), strict=True
    )
)
EGO_VEHICLE, LICENCE_PLATE, LANE_MARKING = 1, 34, 22
"""Ids that no class list has: of Cityscapes, GTA5 and SYNTHIA."""
CITIES = ("Rio", "Rome", "Taipei", "Tokyo")


def make_gta5(
    root: Path, train: int = 8, val: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Path:
    """`images/00001.png`, `labels/00001.png`: mode P whose index is the id; the last is larger.

    Args:
        root: made if need be, and returned.
        train: images.
        val: more images; with them there is a `split.mat`, without it all images are for training.
        size: width and height in pixels.
    """
    scenes = [*streets("gta5", train, size), *(streets("gta5 val", val, size) if val else ())]
    for number, (image, label) in enumerate(scenes, start=1):
        ids = ids_of(label, CITYSCAPES_ID)
        ids[:2, :2] = LICENCE_PLATE
        picture = Image.fromarray(ids)
        if number == len(scenes):
            larger = (size[0], size[1] + 1)
            picture = picture.resize(larger, Image.Resampling.NEAREST)
        picture.putpalette(_gta5_palette())
        _save(Image.fromarray(image), root / "images" / f"{number:05d}.png")
        _save(picture, root / "labels" / f"{number:05d}.png")
    if val:
        numbers = np.arange(1, len(scenes) + 1, dtype=np.uint16)[:, None]
        savemat(
            root / "split.mat",
            {"trainIds": numbers[:train], "valIds": numbers[train:], "testIds": numbers[:0]},
        )
    return root


def make_synthia(root: Path, train: int = 8, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """`RGB/0000000.png`, `GT/LABELS/0000000.png`: 16 bits, class in the first of three channels."""
    for number, (image, label) in enumerate(streets("synthia", train, size)):
        ids = ids_of(label, SYNTHIA_ID)
        ids[:2, :2] = LANE_MARKING
        _save(Image.fromarray(image), root / "RGB" / f"{number:07d}.png")
        path = root / "GT" / "LABELS" / f"{number:07d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        instances = np.full_like(ids, number + 1)
        channels = np.stack([ids, instances, np.zeros_like(ids)], axis=2).astype(np.uint16)
        path.write_bytes(png_of_16_bits(channels))
    return root


def make_cityscapes(
    root: Path, train: int = 8, val: int = 6, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Path:
    """`leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`, `gtFine/SPLIT/CITY/*_gtFine_labelIds.png`."""
    for split, count, towns in (
        ("train", train, ("aachen", "bochum")),
        ("val", val, ("frankfurt", "munster")),
    ):
        for number, (image, label) in enumerate(streets(f"cityscapes {split}", count, size)):
            town = towns[number % 2]
            stem = f"{town}_{number:06d}_000019"
            ids = ids_of(label, CITYSCAPES_ID)
            ids[-2:] = EGO_VEHICLE
            folder = root / "leftImg8bit" / split / town
            _save(Image.fromarray(image), folder / f"{stem}_leftImg8bit.png")
            folder = root / "gtFine" / split / town
            _save(Image.fromarray(ids), folder / f"{stem}_gtFine_labelIds.png")
            # Beside them lies what must not be read.
            _save(Image.fromarray(ids.astype(np.uint16)), folder / f"{stem}_gtFine_instanceIds.png")
    return root


def make_crosscity(
    root: Path,
    city: str = "rome",
    train: int = 8,
    test: int = 6,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Path:
    """`CITY/Images/Train/*.jpg`, `CITY/Images/Test/*.png`, `CITY/Labels/Test/*_eval.png`."""
    town = root / city.capitalize()
    for number, (image, _) in enumerate(streets(f"{city} train", train, size)):
        path = town / "Images" / "Train" / f"pano_{number:05d}_0_180.jpg"
        _save(Image.fromarray(image), path, quality=95)
    for number, (image, label) in enumerate(streets(f"{city} test", test, size)):
        stem = f"pano_{number:05d}_2_180"
        _save(Image.fromarray(image), town / "Images" / "Test" / f"{stem}.png")
        ids = ids_of(label, CITYSCAPES_ID)
        _save(Image.fromarray(ids), town / "Labels" / "Test" / f"{stem}_eval.png")
    return root


def ids_of(label: Bytes, table: dict[str, int]) -> Bytes:
    """Train ids (H, W) as the ids of a data set."""
    return np.array([table[name] for name in CITYSCAPES], np.uint8)[label]


def streets(name: str, count: int, size: tuple[int, int]) -> tuple[Scene, ...]:
    """Streets that hold all 19 classes together, always the same for the same name.

    Args:
        name: begins with the data set, which has a style of its own.
        count: 6 or more, with which all classes are found.
        size: width and height in pixels.
    """
    return _streets(name, count, size)


@lru_cache(maxsize=32)
def _streets(name: str, count: int, size: tuple[int, int]) -> tuple[Scene, ...]:
    seed, style = zlib.crc32(name.encode()), _style(name.split()[0])
    drawn = [render_scene((seed, i), style, size[1], size[0]) for i in range(24)]
    chosen: list[int] = []
    missing = set(range(len(CITYSCAPES)))
    held = [set(np.unique(label).tolist()) for _, label in drawn]
    while missing:
        chosen.append(max(range(len(drawn)), key=lambda i: len(held[i] & missing)))
        missing -= held[chosen[-1]]
    assert len(chosen) <= count, f"{name}: {count} streets are too few for all classes"
    chosen += [i for i in range(len(drawn)) if i not in chosen][: count - len(chosen)]
    return tuple(drawn[i] for i in sorted(chosen))


def _style(dataset: str) -> Style:
    shares = {"gta5": 0.0, "synthia": 0.2, "cityscapes": 1.0}
    return interpolate(SOURCE_STYLE, TARGET_STYLE, shares.get(dataset, 0.6))


def _gta5_palette() -> list[int]:
    colours = dict.fromkeys(range(256), (0, 0, 0))
    colours |= dict(zip(CITYSCAPES_ID.values(), PALETTE, strict=True))
    return [value for index in range(256) for value in colours[index]]


def _save(image: Image.Image, path: Path, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def png_of_16_bits(channels: NDArray[np.uint16]) -> bytes:
    """A PNG file of (H, W, 3) 16-bit values, written by the standard and by no library."""
    height, width, _ = channels.shape
    body = io.BytesIO()
    for row in channels.astype(">u2"):
        body.write(b"\x00" + row.tobytes())
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(body.getvalue())), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
