"""Images and labels of the published data sets, from the cache or from the original files.

The table of source, target and shared classes of each benchmark is here too.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from stvm.data import cityscapes
from stvm.data.array_files import MappedArray
from stvm.data.image_files import Uint8Array
from stvm.data.published.array_cache import DecodedArray
from stvm.data.published.dataset_layouts import CITYSCAPES, CROSS_CITY, GTA5, SYNTHIA, Split
from stvm.data.published.decode import Size, decode_ids, decode_image
from stvm.data.published.label_ids import ALL_19, SHARED_13, SHARED_16
from stvm.data.published.splits import DatasetSplit
from stvm.errors import StvmError
from stvm.settings import DataSettings

_DOMAINS = {
    "gta5_cityscapes": (GTA5, CITYSCAPES, ALL_19),
    "synthia_cityscapes": (SYNTHIA, CITYSCAPES, SHARED_16),
    "cityscapes_crosscity": (CITYSCAPES, CROSS_CITY, SHARED_13),
}
"""Source, target and the train ids of the shared classes, by the setting `dataset`."""


def classes_of(data: DataSettings) -> tuple[int, ...]:
    """Train ids, among Cityscapes' 19, of the benchmark's classes."""
    return _DOMAINS[data.dataset][2]


def names_of(data: DataSettings) -> tuple[str, ...]:
    """Names of the benchmark's classes."""
    return tuple(cityscapes.CITYSCAPES[train_id] for train_id in classes_of(data))


def source_part(data: DataSettings, split: Split) -> DatasetSplit:
    """One split of the source.

    Raises:
        StvmError: The setting source_root is empty.
    """
    layout = _DOMAINS[data.dataset][0]
    return DatasetSplit(layout, _root(data.source_root, "source_root", layout.title), split)


def target_part(data: DataSettings, split: Split) -> DatasetSplit:
    """One split of the target.

    Raises:
        StvmError: The setting target_root is empty.
    """
    layout = _DOMAINS[data.dataset][1]
    return DatasetSplit(
        layout, _root(data.target_root, "target_root", layout.title), split, data.city
    )


def _root(root: str, setting: str, title: str) -> Path:
    if not root:
        raise StvmError(f"{setting} is not set: give {setting}=DIR, the folder of {title}")
    return Path(root)


class PublishedImages:
    """Images of one split; label files are neither opened nor looked for.

    Args:
        part: Split to open.
        size: Height and width of the returned images.
        cache: Folder of prepared arrays; an array of these files is read in place of the files.

    Raises:
        StvmError: The split is missing, or the cache cannot be read.
    """

    def __init__(self, part: DatasetSplit, size: Size, cache: Path) -> None:
        self.part = part
        self.size = size
        self.paths: Sequence[Path] = part.images()
        self._kept = DecodedArray(cache, part, "images", size, self.paths).open()

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def is_cached(self) -> bool:
        """True if the images come from the cache."""
        return self._kept is not None

    def image(self, index: int) -> Uint8Array:
        """RGB (H, W, 3).

        Raises:
            StvmError: The file cannot be read.
        """
        if self._kept is not None:
            return self._kept[index]
        return decode_image(self.paths[index], self.size)


class PublishedLabelledImages(PublishedImages):
    """Images of one split with their labels, which may have a size of their own.

    Args:
        part: Split to open.
        classes: Train ids of the benchmark's classes; a label is a position in this sequence.
        size: Height and width of the images.
        label_size: Height and width of the labels.
        cache: Folder of prepared arrays.

    Raises:
        StvmError: A fault that `PublishedImages` raises, a split without public labels, or a
            missing label.
    """

    def __init__(
        self, part: DatasetSplit, classes: Sequence[int], size: Size, label_size: Size, cache: Path
    ) -> None:
        part.check_labelled()
        super().__init__(part, size, cache)
        self.label_size = label_size
        self.label_paths = part.labels(self.paths)
        self._table = part.layout.ids.table(classes)
        self._kept_ids: MappedArray | None = DecodedArray(
            cache, part, "labels", label_size, self.paths
        ).open()

    def label(self, index: int) -> Uint8Array:
        """Classes (H, W), 255 ignored.

        Raises:
            StvmError: The file cannot be used.
        """
        if self._kept_ids is not None:
            return self._table[self._kept_ids[index]]
        ids = decode_ids(
            self.part.layout, self.label_paths[index], self.paths[index], self.label_size
        )
        return self._table[ids]


def has_source_val(data: DataSettings) -> bool:
    """True if held-out source images are there: Cityscapes' val, or GTA5's with its split file."""
    if not data.source_root:
        return False
    part = source_part(data, "val")
    return bool(part.official) and part.image_folder().is_dir()


def fingerprint(
    data: DataSettings, eval_split: Split, target_train: bool, source: bool = True
) -> str:
    """SHA-256 over names and sizes of the files a trial reads, wherever their roots lie.

    Args:
        data: Settings that name the folders; a missing folder contributes nothing.
        eval_split: Evaluated split of the target.
        target_train: True if the trial reads the target's training images.
        source: True if the trial reads source images.
    """
    parts = [
        *(_source_parts(data) if source else ()),
        *_target_parts(data, eval_split, target_train),
    ]
    return _digest(parts)


def source_fingerprint(data: DataSettings) -> str:
    """SHA-256 over names and sizes of the files on which a source model is trained."""
    return _digest(list(_present(source_part(data, "train"), True)))


def _digest(parts: Sequence[tuple[DatasetSplit, bool]]) -> str:
    digest = hashlib.sha256()
    for number, (part, labelled) in enumerate(parts):
        for name, size in part.listing(files_of(part, labelled)):
            digest.update(f"{number} {name} {size}\n".encode())
    return digest.hexdigest()


def files_of(part: DatasetSplit, labelled: bool) -> list[Path]:
    """Images of a split and, if `labelled`, their labels except missing ones."""
    images = part.images()
    if not labelled:
        return images
    missing = set(part.without_label(images))
    return [*images, *(part.label_of(image) for image in images if image not in missing)]


def read_parts(
    data: DataSettings, eval_split: str, source: bool, source_val: bool, oracle: bool
) -> list[tuple[DatasetSplit, bool]]:
    """The present splits that a trial reads, each with a flag: True if its labels are read.

    Args:
        data: Settings that name the folders; an empty root contributes nothing.
        eval_split: Evaluated split of the target; empty if nothing of the target is read.
        source: True if the source's training images are read.
        source_val: True if the source's held-out images are read.
        oracle: True if labels of the target's training images are read.
    """
    parts: list[tuple[DatasetSplit, bool]] = []
    if data.source_root:
        parts += _present(source_part(data, "train"), True) if source else ()
        parts += _present(source_part(data, "val"), True) if source_val else ()
    if data.target_root and eval_split:
        parts += _present(target_part(data, "train"), oracle)
        parts += _present(target_part(data, "val" if eval_split == "val" else "test"), True)
    return parts


def _source_parts(data: DataSettings) -> Iterator[tuple[DatasetSplit, bool]]:
    """Each present split of the source, with a flag: True if its labels are read."""
    for split in ("train", "val") if data.source_root else ():
        yield from _present(source_part(data, split), True)


def _target_parts(
    data: DataSettings, eval_split: Split, target_train: bool
) -> Iterator[tuple[DatasetSplit, bool]]:
    if data.target_root:
        yield from _present(target_part(data, eval_split), True)
        if target_train:
            yield from _present(target_part(data, "train"), False)


def _present(part: DatasetSplit, labelled: bool) -> Iterator[tuple[DatasetSplit, bool]]:
    if part.official and part.image_folder().is_dir():
        yield part, labelled
