"""Images and labels of the published data sets, from the cache or from the original files.

Which of them is source and which target is here too, and which classes both share.
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
"""Source, target and the train ids of their classes, by dataset."""


def classes_of(data: DataSettings) -> tuple[int, ...]:
    """Train ids, among Cityscapes' 19, of the classes that are told apart."""
    return _DOMAINS[data.dataset][2]


def names_of(data: DataSettings) -> tuple[str, ...]:
    """Names of the classes."""
    return tuple(cityscapes.CITYSCAPES[train_id] for train_id in classes_of(data))


def source_part(data: DataSettings, split: Split) -> DatasetSplit:
    """A split of the source.

    Raises:
        StvmError: its root is not given.
    """
    layout = _DOMAINS[data.dataset][0]
    return DatasetSplit(layout, _root(data.source_root, "source_root", layout.title), split)


def target_part(data: DataSettings, split: Split) -> DatasetSplit:
    """A split of the target.

    Raises:
        StvmError: its root is not given.
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
        part: the split.
        size: height and width of the images handed out.
        cache: of prepared arrays, which are read where they were made from these files.

    Raises:
        StvmError: the split is not there, or the cache cannot be read.
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
        """The images come from the cache."""
        return self._kept is not None

    def image(self, index: int) -> Uint8Array:
        """RGB (H, W, 3).

        Raises:
            StvmError: the file cannot be read.
        """
        if self._kept is not None:
            return self._kept[index]
        return decode_image(self.paths[index], self.size)


class PublishedLabelledImages(PublishedImages):
    """Images of one split with their labels, which may have a size of their own.

    Args:
        part: the split.
        classes: train ids of the classes that are told apart; a label is the place in it.
        size: height and width of the images.
        label_size: height and width of the labels.
        cache: of prepared arrays.

    Raises:
        StvmError: as `PublishedImages`, or a split without public labels, or a label is missing.
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
            StvmError: the file cannot be used.
        """
        if self._kept_ids is not None:
            return self._table[self._kept_ids[index]]
        ids = decode_ids(
            self.part.layout, self.label_paths[index], self.paths[index], self.label_size
        )
        return self._table[ids]


def has_source_val(data: DataSettings) -> bool:
    """Held-out source images are there: Cityscapes' val, or GTA5's with its split file."""
    if not data.source_root:
        return False
    part = source_part(data, "val")
    return bool(part.official) and part.image_folder().is_dir()


def fingerprint(
    data: DataSettings, eval_split: Split, target_train: bool, source: bool = True
) -> str:
    """SHA-256 over names and sizes of the files a trial reads, wherever their roots lie.

    Args:
        data: roots; one that is not there contributes nothing.
        eval_split: of the target.
        target_train: the trial reads the target's training images.
        source: it reads the source's.
    """
    parts = [
        *(_source_parts(data) if source else ()),
        *_target_parts(data, eval_split, target_train),
    ]
    return _digest(parts)


def source_fingerprint(data: DataSettings) -> str:
    """SHA-256 over names and sizes of the files that a source model is trained on."""
    return _digest(list(_present(source_part(data, "train"), True)))


def _digest(parts: Sequence[tuple[DatasetSplit, bool]]) -> str:
    digest = hashlib.sha256()
    for number, (part, labelled) in enumerate(parts):
        for name, size in part.listing(files_of(part, labelled)):
            digest.update(f"{number} {name} {size}\n".encode())
    return digest.hexdigest()


def files_of(part: DatasetSplit, labelled: bool) -> list[Path]:
    """Images of a split, and with `labelled` those of their labels that are there."""
    images = part.images()
    if not labelled:
        return images
    missing = set(part.without_label(images))
    return [*images, *(part.label_of(image) for image in images if image not in missing)]


def read_parts(
    data: DataSettings, eval_split: str, source: bool, source_val: bool, oracle: bool
) -> list[tuple[DatasetSplit, bool]]:
    """The splits that are read and are there, each with whether its labels are read.

    Args:
        data: roots; one that is not given contributes nothing.
        eval_split: of the target; empty where nothing of the target is read.
        source: the source's training images are read.
        source_val: its held-out images are.
        oracle: labels of the target's training images are.
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
    """Each split with whether its labels are read."""
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
