"""Images and labels of a trial, whichever dataset they come from, as plain arrays.

The only way to target training images without labels is `open_target_images`: what it returns
has no labels, so that nothing in adaptation can see them.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from stvm.data.cityscapes import CITYSCAPES, PALETTE
from stvm.data.classes import parse_classes
from stvm.data.folder import FolderImages, LabelledFolder, read_files
from stvm.data.images import Images, LabelledImages, _TwoSizes
from stvm.data.published import published_images
from stvm.data.published.dataset_layouts import Split
from stvm.data.published.decode import Size
from stvm.data.published.published_images import PublishedImages, PublishedLabelledImages
from stvm.data.streets.street_images import open_street_images, open_streets
from stvm.errors import StvmError
from stvm.settings import PUBLISHED, DataSettings


def class_names(data: DataSettings) -> tuple[str, ...]:
    """Names in train-id order."""
    if data.dataset in PUBLISHED:
        return published_images.names_of(data)
    return CITYSCAPES if data.dataset == "streets" else parse_classes(data.classes).names


def class_colours(data: DataSettings) -> list[tuple[int, int, int]]:
    """A colour for each class of the data."""
    return colours_of(class_names(data))


def colours_of(names: Sequence[str]) -> list[tuple[int, int, int]]:
    """A colour for each class: Cityscapes' where the name is one of its classes."""
    known = dict(zip(CITYSCAPES, PALETTE, strict=True))
    return [known.get(n, (37 * i % 256, 91 * i % 256, 153 * i % 256)) for i, n in enumerate(names)]


def fingerprint(
    data: DataSettings, eval_split: Split, target_train: bool, source: bool = True
) -> str | None:
    """SHA-256 over names and sizes of the files a trial reads; None for the embedded benchmark.

    Args:
        data: roots.
        eval_split: of the target.
        target_train: the trial reads the target's training images.
        source: it reads the source's; folders of a user's own count in any case.
    """
    if data.dataset == "streets":
        return None
    if data.dataset in PUBLISHED:
        return published_images.fingerprint(data, eval_split, target_train, source)
    return _names_and_sizes(_folders(data, eval_split, target_train), _files_read)


def every_fingerprint(
    data: DataSettings, eval_split: Split, target_train: bool, source: bool = True
) -> str | None:
    """As `fingerprint`; of a user's folders, all files that lie there count, as they once did."""
    if data.dataset != "folder":
        return fingerprint(data, eval_split, target_train, source)
    folders = _folders(data, eval_split, target_train)
    return _names_and_sizes(folders, lambda place: [p for p in place.rglob("*") if p.is_file()])


def _folders(data: DataSettings, eval_split: Split, target_train: bool) -> list[Path]:
    target = Path(data.target_root)
    folders = [Path(data.source_root) / split for split in ("train", "val")]
    folders += [target / eval_split]
    return [*folders, *([target / "train" / "images"] if target_train else [])]


def _files_read(folder: Path) -> list[Path]:
    """Of a split, or of its images alone; none where they are not all there."""
    split, labelled = (folder.parent, False) if folder.name == "images" else (folder, True)
    try:
        return read_files(split.parent, split.name, labelled)
    except StvmError:
        return []


def _names_and_sizes(folders: Sequence[Path], files: Callable[[Path], list[Path]]) -> str:
    digest = hashlib.sha256()
    for number, folder in enumerate(folders):
        for path in sorted(files(folder)):
            digest.update(f"{number} {path.relative_to(folder)} {path.stat().st_size}\n".encode())
    return digest.hexdigest()


def source_fingerprint(data: DataSettings) -> str:
    """SHA-256 over names and sizes of a source model's images, whose content does not name it.

    Empty for data whose content does, and where there are none.
    """
    if data.dataset not in PUBLISHED or not Path(data.source_root).is_dir():
        return ""
    return published_images.source_fingerprint(data)


def has_source_val(data: DataSettings) -> bool:
    """The source has held-out images with labels."""
    if data.dataset == "folder":
        return (Path(data.source_root) / "val").is_dir()
    return data.dataset == "streets" or published_images.has_source_val(data)


def open_source(data: DataSettings, split: Split, cache: Path) -> LabelledImages:
    """Labelled source images, of the size of the source."""
    size = data.source_size()
    if data.dataset == "streets":
        resized = data.model_copy(update={"height": size[0], "width": size[1]})
        return open_streets(resized, "source", split, cache)
    if data.dataset in PUBLISHED:
        part = published_images.source_part(data, split)
        return PublishedLabelledImages(part, published_images.classes_of(data), size, size, cache)
    return LabelledFolder(data.source_root, split, *size, parse_classes(data.classes))


def open_target_images(data: DataSettings, cache: Path) -> Images:
    """Unlabelled target training images; label files are neither opened nor looked for."""
    if data.dataset == "streets":
        return open_street_images(data, "target", "train", cache)
    if data.dataset in PUBLISHED:
        part = published_images.target_part(data, "train")
        return PublishedImages(part, (data.height, data.width), cache)
    return FolderImages(data.target_root, "train", data.height, data.width)


def open_target_labelled(
    data: DataSettings,
    split: Split,
    cache: Path,
    image_size: Size | None = None,
    label_size: Size | None = None,
) -> LabelledImages:
    """Labelled target images: val and test for evaluation, train for the oracle only.

    Args:
        data: which images.
        split: of the target; Cityscapes has no labels for `test`, Cross-City for `test` alone.
        cache: of rendered and decoded images.
        image_size: height and width of the images; None for the data's.
        label_size: height and width of the labels; None for the images'.

    Raises:
        StvmError: a split without labels, files that are missing, or the embedded benchmark at
            another size than its own.
    """
    own = (data.height, data.width)
    image_size = image_size or own
    label_size = label_size or image_size
    if data.dataset == "streets":
        if (image_size, label_size) != (own, own):
            raise StvmError(
                f"the embedded benchmark is drawn at {own[1]}x{own[0]} and has no other size: "
                "set protocol=image"
            )
        return open_streets(data, "target", split, cache)
    if data.dataset in PUBLISHED:
        part = published_images.target_part(data, split)
        return PublishedLabelledImages(
            part, published_images.classes_of(data), image_size, label_size, cache
        )
    labelled = LabelledFolder(data.target_root, split, *label_size, parse_classes(data.classes))
    if image_size == label_size:
        return labelled
    return _TwoSizes(FolderImages(data.target_root, split, *image_size), labelled)
