"""Files and folders that are written whole or not at all; errors are one line."""

import hashlib
import os
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from errno import (
    EACCES,
    EDQUOT,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOTDIR,
    EPERM,
)
from pathlib import Path

from stvm.errors import StvmError

_MOST_BYTES = 200
"""Largest length of a name that becomes a file's; with an ending it stays below the 255 of file
systems."""

_OF_THE_FILE = (None, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR)
"""Error numbers that mean that the file itself is wrong.

EINVAL is that of a file that is too short, and libraries that read formats raise errors without a
number (None).
"""

_AGE_S = 86400.0
"""Age in seconds from which an unfinished file was left by a killed process."""


class Unreadable(StvmError):
    """A file that may be sound and cannot be read now."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make `folder`, and turn an error of writing in it into one line.

    Raises:
        StvmError: no space left, or no permission.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (EEXIST, ENOTDIR):
            refuse_file(folder, "cannot write below")
        if error.errno == EISDIR:
            place = error.filename2 or error.filename
            raise StvmError(f"cannot write {place}: it is a folder; name a file") from error
        mend = "make room" if error.errno in (ENOSPC, EDQUOT) else "choose another folder"
        raise StvmError(
            f"cannot write below {folder}: {error.strerror or error}; "
            f"{mend} and run again: what is recorded stays"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that replaces it if the block ends without an error.

    A killed process leaves a file that begins with a dot. Nobody reads it, and a later write
    removes it.
    """
    drop_unfinished(path, _AGE_S)
    temporary = _beside(path)
    # Not by tempfile: it closes its files to other users and ignores the umask.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all; its folder is made if missing.

    A link stays one: the file that it leads to is written. What is no file, such as /dev/null,
    is written to and stays.

    Raises:
        StvmError: no space left, or no permission.
    """
    place = Path(os.path.realpath(path))
    with writing(path.parent):
        if place.exists() and not (place.is_file() or place.is_dir()):
            place.write_bytes(content)
            return
        with replacing(place) as temporary:
            temporary.write_bytes(content)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that replaces it if the block ends without an error."""
    drop_unfinished(folder, _AGE_S)
    temporary = _beside(folder)
    temporary.mkdir()
    try:
        yield temporary
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}-{secrets.token_hex(4)}")


def drop_unfinished(path: Path, age_s: float = 0) -> None:
    """Remove what killed processes left when they wrote a file or folder.

    Args:
        path: file or folder that was to be written.
        age_s: smallest age in seconds; use 0 only if you hold the lock of `path`.
    """
    form = re.compile(re.escape(f".{path.name}-") + "[0-9a-z_]{8}")
    try:
        names = [name for name in os.listdir(path.parent) if form.fullmatch(name)]
        left = [path.with_name(name) for name in names]
        for one in left:
            if age_s and time.time() - one.stat().st_mtime < age_s:
                continue
            shutil.rmtree(one, ignore_errors=True) if one.is_dir() else one.unlink(missing_ok=True)
    except OSError:
        # The write itself will say what is wrong with the folder.
        return


def unreadable(path: Path, error: Exception, damaged: str) -> StvmError:
    """An error of one line that says why a file cannot be read, and what to do.

    Args:
        path: the file.
        error: the error of reading it.
        damaged: advice for a file that is damaged.

    Returns:
        An `Unreadable` if the file itself may be sound.
    """
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or number == ENOMEM:
        return Unreadable(f"cannot read {path}: out of memory; free some memory and run again")
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    if number in _OF_THE_FILE:
        return StvmError(f"cannot read {path}: {reason}; {damaged}")
    if number in (EACCES, EPERM):
        return Unreadable(f"cannot read {path}: {reason}; ask its owner to let you read it")
    return Unreadable(
        f"cannot read {path}: {reason}; run again when the disk answers, the file is left as it is"
    )


def refuse_unwritable(folder: Path, option: str) -> None:
    """Try to write to a folder before hours of work go into it; it is made if missing.

    Args:
        folder: the folder.
        option: the option that names it.

    Raises:
        StvmError: the folder is a file, or nothing can be written to it.
    """
    refuse_file(folder, option)
    probe = folder / f".try-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise StvmError(
            f"{option} {folder}: cannot be written to, {error.strerror or error}; name another"
        ) from None


def refuse_within(folder: Path, option: str, read: Iterable[Path]) -> None:
    """Refuse to write beside images that are read, or below a folder whose images are read.

    Args:
        folder: folder to write; it need not be there.
        option: the option that names it.
        read: images that are read, and folders of images.

    Raises:
        StvmError: it is the folder of such an image, or it is or lies in one of these folders.
    """
    place = folder.resolve()
    there = [path for path in (place, *place.parents) if path.exists()]
    for one in read:
        # By the file system: it may tell capitals apart or not.
        if one.is_dir() and any(path.samefile(one) for path in there):
            raise StvmError(
                f"{option} {folder} lies in {one}, whose images are read: pictures written there "
                f"would later be read too; name a folder outside of {one}"
            )
        if one.is_file() and place.exists() and place.samefile(one.parent):
            raise StvmError(
                f"{option} {folder} is the folder of {one}: pictures written there would later be "
                f"read as your images; name another folder, such as {folder / 'predicted'}"
            )


def refuse_file(folder: Path, option: str) -> None:
    """Refuse a folder that is a file or a link without its folder, or that lies below one.

    Raises:
        StvmError: there is such a file or link; the message names it.
    """
    for path in (folder, *folder.absolute().parents):
        if path.is_symlink() and not path.exists():
            raise StvmError(
                f"{option} {folder}: {path} is a link to {os.readlink(path)}, which is not there; "
                "make that folder, or name another one"
            )
        if path.exists() and not path.is_dir():
            raise StvmError(f"{option} {folder}: {path} is a file; name a folder")


def checked_name(name: str, option: str) -> str:
    """A text that becomes the name of files below a folder; a slash in it makes a folder.

    Raises:
        StvmError: the name would lead out of the folder, or file systems do not accept it.
    """
    parts = name.split("/")
    if (
        any(part.strip() in ("", ".", "..") or part.startswith(".") for part in parts)
        or "\\" in name
        or any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
        or any(len(os.fsencode(part)) > _MOST_BYTES for part in parts)
    ):
        raise StvmError(
            f"{option} {name!r} becomes the name of files: use letters and digits, no dot at the "
            f"beginning and at most {_MOST_BYTES} bytes, as in 'alpha-beta'"
        )
    return name


def file_sha256(path: Path) -> str:
    """SHA-256 of a file; empty if there is no such file.

    Raises:
        StvmError: the file cannot be read.
    """
    if not path.is_file():
        return ""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error, "copy it again") from error
