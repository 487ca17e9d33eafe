"""Every kind of file that an image or a label can be: read as people see it, or refused by name."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from stvm.data.classes import ClassList
from stvm.data.folder import FolderImages, LabelledFolder
from stvm.data.image_files import check_intact, read_ids, read_rgb, read_size
from stvm.errors import StvmError
from tests.helpers.tiny_datasets import png_of_16_bits

HEIGHT, WIDTH = 12, 20
Bytes = NDArray[np.uint8]


@pytest.fixture
def pixels() -> Bytes:
    """Blocks of 4x4, which JPEG keeps nearly as they are."""
    small = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    return small.repeat(4, 0).repeat(4, 1)


def saved(path: Path, image: Image.Image, kind: str = "PNG", **options: Any) -> Path:
    image.save(path, kind, **options)
    return path


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_pillow_and_opencv_show_it(
    tmp_path: Path, pixels: Bytes, kind: str, orientation: int
) -> None:
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    exif = oriented(orientation)
    path = saved(tmp_path / "a", Image.fromarray(pixels), kind, exif=exif, **options)
    read = read_rgb(path)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.array(read), np.array(ImageOps.exif_transpose(image)))
    assert read_size(path) == read.size == ((WIDTH, HEIGHT) if orientation < 5 else (12, 20))
    shown = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert shown is not None
    if kind == "JPEG":  # OpenCV 4 did not look for it in PNG files.
        np.testing.assert_allclose(np.array(read).astype(int), shown[..., ::-1], atol=3)


@pytest.mark.parametrize("orientation", [3, 6])
def test_labels_drawn_on_the_upright_picture_fit(
    tmp_path: Path, pixels: Bytes, orientation: int
) -> None:
    upright = ImageOps.exif_transpose(_marked(Image.fromarray(pixels), orientation))
    ids = (np.array(upright)[..., 0] > 127).astype(np.uint8)
    for part in ("images", "labels"):
        (tmp_path / "train" / part).mkdir(parents=True)
    exif = oriented(orientation)
    stored = Image.fromarray(pixels)
    saved(tmp_path / "train/images/a.jpg", stored, "JPEG", exif=exif, quality=100, subsampling=0)
    saved(tmp_path / "train/labels/a.png", Image.fromarray(ids))
    data = LabelledFolder(tmp_path, "train", *ids.shape, ClassList(("dark", "red"), (0, 1)))
    found = data.image(0)[..., 0] > 127
    assert np.mean(found == (data.label(0) == 1)) > 0.95
    # Drawn on the pixels as they are stored, they cannot be told by size where it is the same.
    if orientation == 6:
        saved(tmp_path / "train/labels/a.png", Image.fromarray(np.ascontiguousarray(ids.T)))
        with pytest.raises(StvmError, match=r"a\.png: label is 20x12 .*12x20 .*EXIF orientation"):
            LabelledFolder(tmp_path, "train", *ids.shape, data.classes).label(0)


def _marked(image: Image.Image, orientation: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "PNG", exif=oriented(orientation))
    return Image.open(file)


@pytest.mark.filterwarnings("error")
def test_an_exif_block_that_cannot_be_read_turns_nothing(tmp_path: Path, pixels: Bytes) -> None:
    exif = b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"
    path = saved(tmp_path / "a", Image.fromarray(pixels), "JPEG", exif=exif, quality=100)
    assert read_rgb(path).size == (WIDTH, HEIGHT)


def test_kinds_of_images_are_read_as_opencv_reads_them(tmp_path: Path, pixels: Bytes) -> None:
    rgb, grey = Image.fromarray(pixels), Image.fromarray(pixels[..., 0])
    opaque = Image.fromarray(np.dstack([pixels, np.full((HEIGHT, WIDTH), 255, np.uint8)]))
    blocks = rgb.quantize(16)
    pages = {"save_all": True, "append_images": [Image.fromarray(255 - pixels)]}
    written = {
        "grey": saved(tmp_path / "grey", grey),
        "grey jpeg": saved(tmp_path / "grey jpeg", grey, "JPEG", quality=100),
        "grey, opaque": saved(tmp_path / "la", opaque.convert("LA")),
        "one bit": saved(tmp_path / "one", grey.convert("1")),
        "palette": saved(tmp_path / "palette", blocks),
        "opaque": saved(tmp_path / "opaque", opaque),
        "profile": saved(tmp_path / "profile", rgb, icc_profile=b"\0" * 128),
        "progressive": saved(tmp_path / "progressive", rgb, "JPEG", progressive=True, quality=95),
        "cmyk": saved(tmp_path / "cmyk", rgb.convert("CMYK"), "JPEG", quality=100),
        "two pictures": saved(tmp_path / "two", rgb, "MPO", quality=100, **pages),
        "interlaced": tmp_path / "interlaced",
        "sixteen": tmp_path / "sixteen",
    }
    written["interlaced"].write_bytes(interlaced(pixels))
    written["sixteen"].write_bytes(png_of_16_bits(pixels.astype(np.uint16) * 257))
    for name, path in written.items():
        check_intact(path)
        read, shown = read_rgb(path), cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert read.mode == "RGB" and shown is not None, name
        np.testing.assert_allclose(np.array(read).astype(int), shown[..., ::-1], atol=4)
    for name in ("opaque", "interlaced", "sixteen", "profile"):
        np.testing.assert_array_equal(np.array(read_rgb(written[name])), pixels)


def interlaced(pixels: Bytes) -> bytes:
    """A PNG file in the seven passes of Adam7, written by the standard."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4))
    passes += ((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = (row for y, x, dy, dx in passes for row in pixels[y::dy, x::dx])
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def refused(path: Path, read: Any = read_rgb) -> str:
    with pytest.raises(StvmError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


def test_transparent_pixels_are_refused(tmp_path: Path, pixels: Bytes) -> None:
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[3, 4] = 254
    image = Image.fromarray(np.dstack([pixels, alpha]))
    grey = Image.fromarray(np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1)))
    for path in (
        saved(tmp_path / "alpha", image),
        saved(tmp_path / "grey alpha", image.convert("LA")),
        saved(tmp_path / "palette", Image.fromarray(pixels).quantize(16), transparency=0),
        saved(tmp_path / "one grey", grey, transparency=3),
    ):
        assert "has transparent pixels" in refused(path)


def test_files_that_are_no_picture_of_the_kind_say_what_they_are(
    tmp_path: Path, pixels: Bytes
) -> None:
    image = Image.fromarray(pixels)
    pages = {"save_all": True, "append_images": [Image.fromarray(255 - pixels)]}
    for kind in ("WEBP", "GIF", "TIFF", "BMP"):
        assert f"it is a {kind} file" in refused(saved(tmp_path / "a.png", image, kind))
    assert "is an animation" in refused(saved(tmp_path / "a.png", image, "PNG", **pages))
    assert "it is a GIF file" in refused(saved(tmp_path / "a.png", image, "GIF", **pages))
    path = tmp_path / "b.png"
    path.write_bytes(b"")
    assert "the file is empty" in refused(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    assert "Git LFS pointer: run git lfs pull" in refused(path)
    saved(path, Image.fromarray(np.zeros((4, 4), np.uint16)))
    assert "image mode I;16 is not supported" in refused(path)


@pytest.mark.slow
def test_a_picture_of_200_megapixels_says_its_size(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("1", (20_000, 10_000)))
    for read in (read_rgb, read_size, check_intact):
        assert "too large: Image size (200000000 pixels)" in refused(path, read)
    assert "fewer pixels" in refused(path, read_ids)


@pytest.mark.filterwarnings("error")
def test_a_photo_of_100_megapixels_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("1", (10_000, 10_000)))
    assert read_size(path) == (10_000, 10_000)


def test_a_jpeg_file_that_was_cut_off_and_filled_up_is_found(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / "a.jpg", Image.fromarray(noise), "JPEG")
    whole = path.read_bytes()
    check_intact(path)
    for behind in (b"a camera's own bytes", b"a film with \xff\xda in it"):
        path.write_bytes(whole + behind)
        check_intact(path)
    half = whole[: len(whole) // 2].ljust(len(whole), b"\0")
    # A thumbnail in the file's EXIF block has an end of its own.
    block = b"\xff\xe1" + (len(whole) + 2).to_bytes(2, "big") + whole
    path.write_bytes(whole[:2] + block + whole[2:])
    check_intact(path)
    path.write_bytes(whole[:2] + block + half[2:])
    refused(path, check_intact)
    path.write_bytes(half)
    assert "cannot be read as JPEG (its end is missing)" in refused(path, check_intact)


def test_labels_are_their_ids_whatever_the_palette_or_depth(tmp_path: Path) -> None:
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for name, options in {
        "palette": {},
        "four bits": {"bits": 4},
        "transparent": {"transparency": 3},
    }.items():
        image = Image.fromarray(ids).convert("P")
        image.putpalette([9, 9, 9] * 256)
        image.putdata(ids.ravel().tolist())
        np.testing.assert_array_equal(read_ids(saved(tmp_path / name, image, **options)), ids)
    path = tmp_path / "interlaced"
    path.write_bytes(interlaced(np.dstack([ids] * 3)))
    assert "label mode is RGB" in refused(path, read_ids)


def test_labels_of_other_kinds_are_refused(tmp_path: Path) -> None:
    ids, path = np.arange(12, dtype=np.uint8).reshape(3, 4), tmp_path / "a.png"
    image = Image.fromarray(ids)
    assert "label mode is 1," in refused(saved(path, image.convert("1")), read_ids)
    assert "label mode is LA" in refused(saved(path, image.convert("LA")), read_ids)
    assert "label mode is I;16" in refused(saved(path, image.convert("I;16")), read_ids)
    assert "label mode is RGB" in refused(saved(path, image.convert("RGB")), read_ids)
    assert "it is a JPEG file" in refused(saved(path, image, "JPEG"), read_ids)
    assert "it is a TIFF file" in refused(saved(path, image.convert("I"), "TIFF"), read_ids)
    assert "an EXIF orientation" in refused(saved(path, image, exif=oriented(3)), read_ids)
    pages = {"save_all": True, "append_images": [Image.fromarray(ids + 1)]}
    assert "is an animation" in refused(saved(path, image, **pages), read_ids)


def test_images_of_a_folder_are_upright_too(tmp_path: Path, pixels: Bytes) -> None:
    (tmp_path / "train/images").mkdir(parents=True)
    exif = oriented(3)
    saved(tmp_path / "train/images/a.PNG", Image.fromarray(pixels), exif=exif)
    image = FolderImages(tmp_path, "train", HEIGHT, WIDTH).image(0)
    np.testing.assert_array_equal(image, pixels[::-1, ::-1])
