"""Digests of files are kept: a file is read again only after it may have changed."""

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stvm.data.fingerprints import Contents
from stvm.files import digests
from stvm.files.digests import Digests, end_sha256


def test_digests_go_to_another_process_as_the_folder_they_lie_in(here: Path) -> None:
    """Tune pickles what a search holds."""
    file = here / "weights"
    file.write_bytes(b"some weights")
    there = pickle.loads(pickle.dumps(Contents(here / "cache")))
    assert there.of_file(str(file)) == hashlib.sha256(b"some weights").hexdigest()


def test_files_that_have_not_changed_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clock of a file system may be ahead of the process's.
    monkeypatch.setattr(digests, "TICK_NS", -(10**10))
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    paths = [tmp_path / f"{n}.png" for n in "ab"]
    for path in paths:
        path.write_bytes(path.name.encode())
    right = [hashlib.sha256(p.name.encode()).hexdigest() for p in paths]
    for _ in range(2):
        assert Digests(tmp_path / "cache", counted).of(paths) == right
    assert sorted(read) == ["a.png", "b.png"]
    # As large, and of the same time, as it was.
    before = paths[0].stat()
    paths[0].write_bytes(b"A.png")
    os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = hashlib.sha256(b"A.png").hexdigest()
    assert Digests(tmp_path / "cache", counted).of(paths) == [changed, right[1]]
    (kept,) = (tmp_path / "cache" / "contents").iterdir()
    kept.write_text('{"schema": 1, "files": {"b.png": 3}}')
    assert Digests(tmp_path / "cache", counted).of(paths) == [changed, right[1]]
    assert len(read) == 5


def test_a_file_changed_just_now_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    Digests(tmp_path / "cache").of([tmp_path / "a.png"])
    assert not (tmp_path / "cache").exists()


def test_the_end_of_a_png_tells_its_pixels_apart(tmp_path: Path) -> None:
    ends = set()
    for row in range(4):
        pixels = np.zeros((64, 128), np.uint8)
        pixels[row, 0] = 1
        Image.fromarray(pixels).save(tmp_path / "a.png", compress_level=0)
        ends.add(end_sha256(tmp_path / "a.png"))
    assert len(ends) == 4
