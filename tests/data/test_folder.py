"""The user's own folders: what is handed out, and one line per fault that names the file."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stvm.data.classes import ClassList, parse_classes
from stvm.data.folder import FolderImages, LabelledFolder
from stvm.errors import StvmError

CLASSES = ClassList(("road", "person"), (7, 24))
HEIGHT, WIDTH = 6, 8


def _pixels(seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (height, width, 3), dtype=np.uint8)


def _save(path: Path, array: NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def _ids() -> NDArray[np.uint8]:
    ids = np.full((HEIGHT, WIDTH), 7, np.uint8)
    ids[0, :3] = 24
    ids[5, 2] = 255
    return ids


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(("b", "a", "c")):
        _save(tmp_path / "train/images" / f"{name}.png", _pixels(number))
        _save(tmp_path / "train/labels" / f"{name}.png", _ids())
    return tmp_path


def _labelled(root: Path) -> LabelledFolder:
    return LabelledFolder(root, "train", HEIGHT, WIDTH, CLASSES)


def _grey_png_of_4_bits(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 4, 0, 0, 0, 0)
    rows = (b"\x00" + b"\x00" * ((width + 1) // 2)) * height
    start = b"\x89PNG\r\n\x1a\n"
    return (
        start + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_parse_classes_numbers_bare_names_from_zero() -> None:
    assert parse_classes("road, sidewalk") == ClassList(("road", "sidewalk"), (0, 1))


def test_parse_classes_takes_ids() -> None:
    assert parse_classes("7:road, 8:traffic sign") == ClassList(("road", "traffic sign"), (7, 8))


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("7:road,7:car", "id 7 is given twice"),
        ("road,road", "name road is given twice"),
        ("255:road", "id 255 of 'road' is not in 0..254"),
        ("-1:road", "id -1"),
        ("road,,car", "name of id 1 is empty"),
        ("7:", "name of id 7 is empty"),
        ("", "empty"),
        ("x:road", "'x' in 'x:road' is not an integer"),
        ("7:road,car", "'car' has no id"),
    ],
)
def test_parse_classes_refuses(spec: str, fault: str) -> None:
    with pytest.raises(StvmError, match=fault):
        parse_classes(spec)


def test_images_come_in_name_order_as_stored(root: Path) -> None:
    folder = FolderImages(root, "train", HEIGHT, WIDTH)
    assert folder.names == ("a", "b", "c")
    assert len(folder) == 3
    np.testing.assert_array_equal(folder.image(0), _pixels(1))


def test_images_are_resized_bilinearly(root: Path) -> None:
    image = FolderImages(root, "train", 3, 4).image(1)
    expected = Image.fromarray(_pixels(0)).resize((4, 3), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(image, np.array(expected))


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_jpeg_and_grey_images_become_rgb(tmp_path: Path, suffix: str) -> None:
    _save(tmp_path / f"train/images/x{suffix}", np.full((HEIGHT, WIDTH), 90, np.uint8))
    image = FolderImages(tmp_path, "train", HEIGHT, WIDTH).image(0)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    assert np.all(np.abs(image.astype(int) - 90) <= 2)


def test_other_and_hidden_files_are_passed_over(root: Path) -> None:
    (root / "train/images/notes.txt").write_text("x")
    (root / "train/images/._a.png").write_bytes(b"x")
    assert FolderImages(root, "train", HEIGHT, WIDTH).names == ("a", "b", "c")


def test_unlabelled_images_never_need_a_label(root: Path) -> None:
    for path in (root / "train/labels").iterdir():
        path.write_bytes(b"not an image")
    folder = FolderImages(root, "train", HEIGHT, WIDTH)
    assert folder.image(2).shape == (HEIGHT, WIDTH, 3)
    assert not hasattr(folder, "label")


def test_files_are_opened_only_when_asked_for(root: Path) -> None:
    (root / "train/images/a.png").write_bytes(b"broken")
    (root / "train/labels/b.png").write_bytes(b"broken")
    folder = _labelled(root)
    assert folder.image(1).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(StvmError, match=r"labels/b\.png"):
        folder.label(1)


def test_a_decoded_image_is_not_read_again_and_not_shared(root: Path) -> None:
    folder = FolderImages(root, "train", HEIGHT, WIDTH)
    first = folder.image(0)
    (root / "train/images/a.png").unlink()
    first[:] = 0
    folder.image(0)[:] = 0
    np.testing.assert_array_equal(folder.image(0), _pixels(1))


def test_cache_is_bounded_and_drops_the_least_recently_used(root: Path) -> None:
    one_image = HEIGHT * WIDTH * 3
    folder = FolderImages(root, "train", HEIGHT, WIDTH, cache_bytes=2 * one_image)
    for index in (0, 1, 0, 2):
        folder.image(index)
        assert folder._cache.bytes <= 2 * one_image
    for path in (root / "train/images").iterdir():
        path.unlink()
    folder.image(0)
    folder.image(2)
    with pytest.raises(StvmError, match=r"b\.png"):
        folder.image(1)


def test_an_image_larger_than_the_cache_is_not_kept(root: Path) -> None:
    folder = FolderImages(root, "train", HEIGHT, WIDTH, cache_bytes=10)
    assert folder.image(0).shape == (HEIGHT, WIDTH, 3)
    assert folder._cache.bytes == 0


def test_labels_are_train_ids(root: Path) -> None:
    label = _labelled(root).label(0)
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[0, :3] = 1
    expected[5, 2] = 255
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, expected)


def test_train_id_is_the_position_in_the_list_not_the_order_of_ids(root: Path) -> None:
    swapped = ClassList(("person", "road"), (24, 7))
    label = LabelledFolder(root, "train", HEIGHT, WIDTH, swapped).label(0)
    assert label[0, 0] == 0
    assert label[3, 3] == 1


def test_palette_labels_give_the_index(root: Path) -> None:
    palette = Image.fromarray(_ids()).convert("P")
    palette.putdata(_ids().ravel().tolist())
    palette.putpalette([value for _ in range(256) for value in (9, 9, 9)])
    palette.save(root / "train/labels/a.png")
    folder = _labelled(root)
    np.testing.assert_array_equal(folder.label(0), folder.label(1))


def test_labels_are_resized_to_the_nearest_pixel(root: Path) -> None:
    label = LabelledFolder(root, "train", 3, 4, CLASSES).label(0)
    assert label.shape == (3, 4)
    assert set(np.unique(label)) <= {0, 1, 255}
    nearest = Image.fromarray(_ids()).resize((4, 3), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(label == 1, np.array(nearest) == 24)


def test_id_outside_is_found_even_where_resizing_would_hide_it(root: Path) -> None:
    ids = _ids()
    ids[0, 0], ids[0, 1] = 3, 9
    _save(root / "train/labels/a.png", ids)
    folder = LabelledFolder(root, "train", 1, 1, CLASSES)
    with pytest.raises(StvmError, match=r"labels/a\.png: ids 3, 9 are not in the class list; add"):
        folder.label(0)


@pytest.mark.parametrize("part", ["", "train", "train/images"])
def test_missing_folder_names_it_and_the_layout(tmp_path: Path, part: str) -> None:
    root = tmp_path / "data"
    missing = root / part
    if missing != root:
        missing.parent.mkdir(parents=True)
    with pytest.raises(StvmError) as caught:
        FolderImages(root, "train", HEIGHT, WIDTH)
    assert str(caught.value).startswith(f"{missing}: ")
    assert "<root>/<split>/images" in str(caught.value)


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "train/images").mkdir(parents=True)
    with pytest.raises(StvmError, match=r"train/images: no image"):
        FolderImages(tmp_path, "train", HEIGHT, WIDTH)


def test_two_images_with_one_stem(root: Path) -> None:
    _save(root / "train/images/a.jpg", _pixels(5))
    with pytest.raises(StvmError, match=r"same stem as a\.jpg|same stem as a\.png"):
        _labelled(root)


def test_missing_label_names_image_and_label(root: Path) -> None:
    (root / "train/labels/b.png").unlink()
    with pytest.raises(StvmError, match=r"images/b\.png: .*labels/b\.png"):
        _labelled(root)


@pytest.mark.parametrize("keep", [0, 20, 150])
def test_truncated_image(root: Path, keep: int) -> None:
    path = root / "train/images/a.png"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StvmError, match=r"images/a\.png: cannot be read") as caught:
        FolderImages(root, "train", HEIGHT, WIDTH).image(0)
    assert "\n" not in str(caught.value)


def test_image_of_16_bits(root: Path) -> None:
    _save(root / "train/images/a.png", np.full((HEIGHT, WIDTH), 4000, np.uint16))
    with pytest.raises(StvmError, match=r"images/a\.png: image mode I;16"):
        FolderImages(root, "train", HEIGHT, WIDTH).image(0)


def test_truncated_label(root: Path) -> None:
    path = root / "train/labels/a.png"
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(StvmError, match=r"labels/a\.png: cannot be read"):
        _labelled(root).label(0)


def test_label_of_another_size(root: Path) -> None:
    _save(root / "train/labels/a.png", np.full((HEIGHT, WIDTH + 1), 7, np.uint8))
    with pytest.raises(StvmError, match=r"labels/a\.png: label is 9x6 .*images/a\.png is 8x6"):
        _labelled(root).label(0)


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH, 3), (HEIGHT, WIDTH, 4)])
def test_coloured_label(root: Path, shape: tuple[int, ...]) -> None:
    _save(root / "train/labels/a.png", np.full(shape, 7, np.uint8))
    with pytest.raises(StvmError, match=r"labels/a\.png: label mode is RGBA?, not 8-bit"):
        _labelled(root).label(0)


def test_label_of_16_bits(root: Path) -> None:
    _save(root / "train/labels/a.png", np.full((HEIGHT, WIDTH), 7, np.uint16))
    with pytest.raises(StvmError, match=r"labels/a\.png: label mode is I;16"):
        _labelled(root).label(0)


def test_grey_label_of_4_bits_is_refused_since_its_ids_would_be_stretched(root: Path) -> None:
    (root / "train/labels/a.png").write_bytes(_grey_png_of_4_bits(WIDTH, HEIGHT))
    with pytest.raises(StvmError, match=r"labels/a\.png: label mode is L;4"):
        _labelled(root).label(0)


def test_jpeg_label_under_a_png_name_is_refused(root: Path) -> None:
    Image.fromarray(_ids()).save(root / "train/labels/a.png", format="JPEG")
    with pytest.raises(StvmError, match=r"labels/a\.png: cannot be read as PNG"):
        _labelled(root).label(0)
