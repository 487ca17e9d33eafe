"""Digests of the files that a trial reads; they are part of its name.

Only the content of exactly these files counts, not their place and not other files beside them.
Published data sets are too large to be read whole before every study. Of their files, name, size
and last bytes count; the last bytes of a PNG file hold a checksum of it. These digests are compared
with those in a record and are no part of a name.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cache as remembered
from functools import partial
from pathlib import Path

from stvm.errors import StvmError
from stvm.files.digests import Digests, end_sha256
from stvm.networks.known_networks import files_of
from stvm.settings import PUBLISHED, DataSettings, Settings
from stvm.settings.naming import CONTENTS, read_contents

_PARTS = {
    # setting: root, split, images, labels
    "source_train_content": ("source_root", "train", True, True),
    "source_val_content": ("source_root", "val", True, True),
    "target_train_content": ("target_root", "train", True, False),
    "target_labels_content": ("target_root", "train", False, True),
    "target_val_content": ("target_root", "val", True, True),
    "target_test_content": ("target_root", "test", True, True),
}
_WEIGHTS = {
    "checkpoint_content": "source_checkpoint",
    "init_content": "source_init",
    "network_content": "network",
}


class Contents:
    """Digests of the files that trials read, each computed once in the life of this object.

    Args:
        cache: Folder that keeps the digests of unchanged files.

    Attributes:
        of_file: Function from a path to the SHA-256 of its file; empty text for a missing file.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        whole, ends = Digests(cache), Digests(cache, end_sha256)
        self.of_file: Callable[[str], str] = remembered(partial(_of_file, whole))
        self._part: Callable[[str, str, bool, bool], str] = remembered(partial(_of_part, whole))
        self._ends: Callable[[DataSettings, str, bool, bool, bool], str] = remembered(
            partial(_of_published, ends)
        )

    def __reduce__(self) -> tuple[type["Contents"], tuple[Path]]:
        """Pickles the folder only: Tune pickles a search, and another process computes its own."""
        return Contents, (self._cache,)

    def identified(self, settings: Settings) -> Settings:
        """The settings with the digests of the files as they are now.

        The digest of a missing file stays as it is in the settings.

        Raises:
            StvmError: The settings hold another digest, or a file cannot be read.
        """
        read = read_contents(settings.model_dump())
        if not read:
            return settings
        flat = settings.flat()
        found = {name: self._found(name, flat) for name in CONTENTS if name in read}
        sides = [[name for name in found if name.startswith(side)] for side in ("source", "target")]
        for side in sides:
            # If one of the files is missing, the data of the trial are not known.
            if not all(found[name] for name in side if name != "source_val_content"):
                found |= dict.fromkeys(side, "")
        for name, now in found.items():
            if flat[name] and now and flat[name] != now:
                place = flat[_WEIGHTS[name]] if name in _WEIGHTS else _place(name, flat)
                raise StvmError(
                    f"{place}: its files differ from those that {name} stands for; restore them, "
                    f"or leave {name} out to run another trial"
                )
        return settings.replace(**{name: now or flat[name] for name, now in found.items()})

    def of_images(self, settings: Settings) -> str:
        """One digest of all images and labels that a trial reads; empty if it reads none."""
        data = settings.data
        if data.dataset in PUBLISHED:
            return self.of_published(settings)
        read = read_contents(settings.model_dump()) & _PARTS.keys()
        flat = settings.flat()
        parts = [f"{name} {self._found(name, flat)}" for name in _PARTS if name in read]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest() if parts else ""

    def of_published(self, settings: Settings) -> str:
        """Digest of names, sizes and last bytes of the published files that a trial reads."""
        method, training = settings.method, settings.training
        yardstick = method.procedure == "adapt" and not method.st
        return self._ends(
            settings.data,
            training.eval_split,
            not settings.source.source_checkpoint,
            yardstick,
            method.procedure == "oracle",
        )

    def of_published_source(self, data: DataSettings) -> dict[str, str]:
        """Digest of the published images of a source model, as an entry for its file.

        Empty for other data, and if the images are missing.
        """
        if data.dataset not in PUBLISHED or not Path(data.source_root or "-").is_dir():
            return {}
        return {"source_images_content": self._ends(data, "", True, False, False)}

    def _of_network(self, network: str) -> str:
        """Digest of the files from which a network is built; of a single file its own."""
        first, *rest = files_of(network)
        digest = self.of_file(str(first))
        others = [self.of_file(str(path)) for path in rest]
        if not digest or not any(others):
            return digest
        return hashlib.sha256(" ".join([digest, *others]).encode()).hexdigest()

    def _found(self, name: str, flat: dict[str, str]) -> str:
        if name == "network_content":
            return self._of_network(flat["network"])
        if name in _WEIGHTS:
            return self.of_file(flat[_WEIGHTS[name]])
        root, split, images, labels = _PARTS[name]
        return self._part(flat[root], split, images, labels)


def _place(name: str, flat: dict[str, str]) -> str:
    root, split, _, _ = _PARTS[name]
    return str(Path(flat[root]) / split)


def _of_file(digests: Digests, path: str) -> str:
    return digests.of([Path(path)])[0] if Path(path).is_file() else ""


def _of_part(digests: Digests, root: str, split: str, images: bool, labels: bool) -> str:
    """Digest of the files of a split and their names; empty if one is missing."""
    # Imported here, so that only those who use their own folders load Pillow and NumPy.
    from stvm.data.folder import read_files

    if not (Path(root) / split).is_dir():
        return ""
    try:
        files = read_files(Path(root), split, labels)
    except StvmError:
        # Running the trial reports what is missing.
        return ""
    if not images:
        files = [path for path in files if path.parent.name == "labels"]
    return _digest(Path(root) / split, files, digests.of(files))


def _digest(root: Path, files: Sequence[Path], digests: Sequence[str]) -> str:
    whole = hashlib.sha256()
    for path, digest in sorted(zip(files, digests, strict=True)):
        whole.update(os.fsencode(path.relative_to(root).as_posix()) + f" {digest}\n".encode())
    return whole.hexdigest()


def _of_published(
    digests: Digests,
    data: DataSettings,
    eval_split: str,
    source: bool,
    source_val: bool,
    oracle: bool,
) -> str:
    """Digest of each present split: names, sizes and last bytes of its files."""
    from stvm.data.published import published_images

    whole = hashlib.sha256()
    for part, labelled in published_images.read_parts(data, eval_split, source, source_val, oracle):
        files = published_images.files_of(part, labelled)
        ends = digests.of(files)
        for (name, size), end in zip(part.listing(files), ends, strict=True):
            whole.update(os.fsencode(f"{part.layout.name} {part.split} {name} {size} {end}\n"))
    return whole.hexdigest()
