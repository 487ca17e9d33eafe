"""Digests (SHA-256) of files, kept in the cache so that an unchanged file is read once.

    CACHE/contents/DIGEST.json, one for each folder

A file is unchanged if its size, its times and its inode are the same. The files with digests are
written whole. If two processes write the same one, the later one wins, and both are right.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from stvm.errors import StvmError
from stvm.files.atomic_files import file_sha256, unreadable
from stvm.files.json_files import SCHEMA, read_json, write_json

Signature = list[int]
Digest = Callable[[Path], str]

TICK_NS = 2 * 10**9
"""Age in nanoseconds below which a changed file may change again with the same time. Its digest is
not kept."""
WORTH_A_WORD = 2**30
"""Bytes from which the reading takes so long that a line says so."""
READERS = 8
END = 64
"""Number of bytes at a file's end that `end_sha256` reads."""


def end_sha256(path: Path) -> str:
    """SHA-256 of a file's last bytes.

    A PNG ends with two checksums: zlib's over all pixels, and the chunk's over all bytes before it.

    Raises:
        StvmError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - END))
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise unreadable(path, error, "copy it again") from error


class Digests:
    """Digests of files; those of unchanged files are taken from the cache.

    Args:
        cache: folder of the cache; if it cannot be written, nothing is kept.
        digest: function from a file to its digest.
    """

    def __init__(self, cache: Path, digest: Digest = file_sha256) -> None:
        self.folder = cache / "contents"
        self.digest = digest

    def of(self, paths: Sequence[Path]) -> list[str]:
        """A digest for each file, in order.

        Raises:
            StvmError: a file cannot be read.
        """
        by_folder = groupby(range(len(paths)), lambda n: paths[n].parent)
        return [d for folder, rows in by_folder for d in self._of_folder(folder, paths, rows)]

    def _of_folder(self, folder: Path, paths: Sequence[Path], rows: Iterable[int]) -> list[str]:
        real = Path(os.path.realpath(folder))
        named = [(paths[n].name, paths[n]) for n in rows]
        signatures = {name: _signature(path) for name, path in named}
        kept = self._kept(real)
        known = {n: kept[n][1] for n, s in signatures.items() if n in kept and kept[n][0] == s}
        new = [(name, path) for name, path in named if name not in known]
        if new:
            _tell(len(new), sum(signatures[name][0] for name, _ in new))
            before = time.time_ns() - TICK_NS
            with ThreadPoolExecutor(READERS) as readers:
                found = dict(zip((n for n, _ in new), readers.map(self._digest, new), strict=True))
            settled = {n: d for n, d in found.items() if max(signatures[n][1:3]) < before}
            self._keep(real, kept | {n: (signatures[n], d) for n, d in settled.items()}, settled)
            known |= found
        return [known[name] for name, _ in named]

    def _digest(self, named: tuple[str, Path]) -> str:
        return self.digest(named[1])

    def _file(self, folder: Path) -> Path:
        named = f"{self.digest.__name__} {folder}"
        return self.folder / f"{hashlib.sha256(os.fsencode(named)).hexdigest()[:16]}.json"

    def _kept(self, folder: Path) -> dict[str, tuple[Signature, str]]:
        """Signature and digest of each file by name; empty if they cannot be read."""
        path = self._file(folder)
        if not path.exists():
            return {}
        try:
            files: dict[str, Any] = read_json(path)["files"]
            return {name: (list(entry[0]), str(entry[1])) for name, entry in files.items()}
        except (StvmError, KeyError, TypeError, IndexError, AttributeError):
            return {}

    def _keep(
        self, folder: Path, known: dict[str, tuple[Signature, str]], new: dict[str, str]
    ) -> None:
        if not new:
            return
        # A failure costs only time: the files are read again.
        with suppress(StvmError):
            write_json(
                self._file(folder), {"schema": SCHEMA, "folder": str(folder), "files": known}
            )


def _signature(path: Path) -> Signature:
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error, "copy it again") from error
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _tell(files: int, size: int) -> None:
    if size >= WORTH_A_WORD:
        print(
            f"reading {files:,} files ({size / 2**30:.1f} GiB) once, since their content is "
            "part of the trials' names",
            file=sys.stderr,
            flush=True,
        )
