"""Opens the images and labels of a trial, whichever data set they come from.

Adaptation gets its images from `open_target_images` alone. What that returns has no labels, so
that nothing in adaptation can see them.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from stvm.data.cityscapes import CITYSCAPES
from stvm.data.classes import ClassList, parse_classes
from stvm.data.folder import FolderImages, LabelledFolder, read_files
from stvm.data.images import Images, LabelledImages, OpenedImages, OpenedLabelledImages
from stvm.data.labelling import Labelling
from stvm.data.published import published_images
from stvm.data.published.dataset_layouts import Split
from stvm.data.published.decode import Size
from stvm.data.published.published_images import PublishedImages, PublishedLabelledImages
from stvm.data.streets.street_images import open_street_images, open_streets
from stvm.errors import StvmError
from stvm.settings import PUBLISHED, DataSettings


def class_list(data: DataSettings, domain: Literal["source", "target"]) -> ClassList:
    """Class list of the labels in a user's own folders.

    Raises:
        StvmError: A class list that cannot be read.
    """
    if domain == "source" and data.source_classes:
        return parse_classes(data.source_classes, "source_classes")
    return parse_classes(data.classes)


def source_labelling_of(data: DataSettings) -> Labelling:
    """Meaning of the labels of the source images, and of the outputs of a model trained on them."""
    if data.source_classes:
        return Labelling(parse_classes(data.source_classes, "source_classes").names)
    return labelling_of(data)


def labelling_of(data: DataSettings) -> Labelling:
    """Meaning of the target's labels in data that are not opened; opened ones carry it."""
    if data.dataset in PUBLISHED:
        return Labelling(published_images.names_of(data))
    if data.dataset == "streets":
        return Labelling(CITYSCAPES)
    return Labelling(parse_classes(data.classes).names)


def fingerprint(
    data: DataSettings, eval_split: Split, target_train: bool, source: bool = True
) -> str | None:
    """SHA-256 over names and sizes of the files a trial reads; None for the embedded benchmark.

    Args:
        data: Settings that name the folders.
        eval_split: Evaluated split of the target.
        target_train: True if the trial reads the target's training images.
        source: True if the trial reads source images; those of a user's folders always count.
    """
    if data.dataset == "streets":
        return None
    if data.dataset in PUBLISHED:
        return published_images.fingerprint(data, eval_split, target_train, source)
    return _names_and_sizes(_folders(data, eval_split, target_train), _files_read)


def every_fingerprint(
    data: DataSettings, eval_split: Split, target_train: bool, source: bool = True
) -> str | None:
    """Like `fingerprint`, but every file in a user's folders counts, as in earlier versions."""
    if data.dataset != "folder":
        return fingerprint(data, eval_split, target_train, source)
    folders = _folders(data, eval_split, target_train)
    return _names_and_sizes(folders, lambda place: [p for p in place.rglob("*") if p.is_file()])


def _folders(data: DataSettings, eval_split: Split, target_train: bool) -> list[Path]:
    target = Path(data.target_root)
    splits = ("train", "val") if data.source_root else ()
    folders = [Path(data.source_root) / split for split in splits]
    folders += [target / eval_split]
    return [*folders, *([target / "train" / "images"] if target_train else [])]


def _files_read(folder: Path) -> list[Path]:
    """Files of a split or of its images folder; none if an image or label is missing."""
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
    """SHA-256 over names and sizes of the published images that a source model is trained on.

    Empty for other data, where the content itself is part of the model's name, and if the folder
    is missing.
    """
    if data.dataset not in PUBLISHED or not Path(data.source_root).is_dir():
        return ""
    return published_images.source_fingerprint(data)


def has_source_val(data: DataSettings) -> bool:
    """True if the source has held-out images with labels."""
    if data.dataset == "folder":
        return bool(data.source_root) and (Path(data.source_root) / "val").is_dir()
    return data.dataset == "streets" or published_images.has_source_val(data)


def open_source(data: DataSettings, split: Split, cache: Path) -> OpenedLabelledImages:
    """Labelled source images, at the size of the source."""
    images = _source(data, split, cache)
    labelling = labelling_of(data)
    if data.dataset == "folder":
        labelling = source_labelling_of(data)
    return OpenedLabelledImages(images, images, labelling)


def _source(data: DataSettings, split: Split, cache: Path) -> LabelledImages:
    size = data.source_size()
    if data.dataset == "streets":
        resized = data.model_copy(update={"height": size[0], "width": size[1]})
        return open_streets(resized, "source", split, cache)
    if data.dataset in PUBLISHED:
        part = published_images.source_part(data, split)
        return PublishedLabelledImages(part, published_images.classes_of(data), size, size, cache)
    return LabelledFolder(data.source_root, split, *size, class_list(data, "source"))


def open_target_images(data: DataSettings, cache: Path) -> OpenedImages:
    """Unlabelled target training images; label files are neither opened nor looked for."""
    return OpenedImages(_target_images(data, cache), labelling_of(data))


def _target_images(data: DataSettings, cache: Path) -> Images:
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
) -> OpenedLabelledImages:
    """Labelled target images: val and test for evaluation, train for the oracle only.

    Args:
        data: Settings that name the data set.
        split: Split of the target. Cityscapes has no labels for `test`, Cross-City for `test`
            alone.
        cache: Folder of rendered and decoded images.
        image_size: Height and width of the images; None for the size in `data`.
        label_size: Height and width of the labels; None for the size of the images.

    Raises:
        StvmError: A split without labels, files that are missing, or the embedded benchmark at
            another size than its own.
    """
    own = (data.height, data.width)
    image_size = image_size or own
    label_size = label_size or image_size
    images, labels = _target_labelled(data, split, cache, image_size, label_size)
    return OpenedLabelledImages(images, labels, labelling_of(data))


def _target_labelled(
    data: DataSettings, split: Split, cache: Path, image_size: Size, label_size: Size
) -> tuple[Images, LabelledImages]:
    """Images at one size and labels at another; mostly the same object."""
    labels: LabelledImages
    if data.dataset == "streets":
        own = (data.height, data.width)
        if (image_size, label_size) != (own, own):
            raise StvmError(
                f"the embedded benchmark is drawn at {own[1]}x{own[0]} and has no other size: "
                "set protocol=image"
            )
        labels = open_streets(data, "target", split, cache)
    elif data.dataset in PUBLISHED:
        part = published_images.target_part(data, split)
        classes = published_images.classes_of(data)
        labels = PublishedLabelledImages(part, classes, image_size, label_size, cache)
    else:
        labels = LabelledFolder(data.target_root, split, *label_size, parse_classes(data.classes))
        if image_size != label_size:
            return FolderImages(data.target_root, split, *image_size), labels
    return labels, labels
