"""Files and folders: written whole or not at all, by the umask, with failures in one line."""

import hashlib
import os
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from errno import (
    EACCES,
    EDQUOT,
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
"""Of a name that becomes a file's: with an ending it stays below the 255 of file systems."""

_OF_THE_FILE = (None, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR)
"""Numbers of errors that are the file's own: places that a short file lacks (EINVAL), a folder in
its place, and what libraries that read formats raise without a number."""

_AGE_S = 86400.0
"""A file begun so long ago is one that a kill left."""


class Unreadable(StvmError):
    """A file that may be sound and cannot be read here and now."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Makes `folder` and turns a failure to write below it into one line.

    Raises:
        StvmError: no space left, no permission.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        mend = "make room" if error.errno in (ENOSPC, EDQUOT) else "choose another folder"
        raise StvmError(
            f"cannot write below {folder}: {error.strerror or error}; "
            f"{mend} and run again: what is recorded stays"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well.

    What a kill leaves of it begins with a dot, is read by nobody, and goes with a later write.
    """
    drop_unfinished(path, _AGE_S)
    temporary = _beside(path)
    # Not by tempfile, whose files are closed to all others whatever the umask says.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all; its folder is made where it is missing.

    Raises:
        StvmError: no space, no permission.
    """
    with writing(path.parent), replacing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place when the block ends well."""
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
    """Remove what kills have left of writing a file or folder.

    Args:
        path: that was to be written.
        age_s: least seconds since it was begun; 0 is for who holds the lock of `path` alone.
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
        # Nothing hangs on it: the write itself says what is wrong with the folder.
        return


def unreadable(path: Path, error: Exception, damaged: str) -> StvmError:
    """Why a file cannot be read, in one line that says what to do.

    Args:
        path: of the file.
        error: that reading it raised.
        damaged: what to do with one that is not what it should be.

    Returns:
        An `Unreadable` where nothing says that the file itself is wrong.
    """
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or number == ENOMEM:
        return Unreadable(f"cannot read {path}: out of memory; free some and run again")
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    if number in _OF_THE_FILE:
        return StvmError(f"cannot read {path}: {reason}; {damaged}")
    if number in (EACCES, EPERM):
        return Unreadable(f"cannot read {path}: {reason}; ask its owner to let you read it")
    return Unreadable(
        f"cannot read {path}: {reason}; run again when the disk answers, the file is left as it is"
    )


def refuse_unwritable(folder: Path, option: str) -> None:
    """Try a folder before hours of work go into it; it is made where it is missing.

    Args:
        folder: to be written to.
        option: that names it.

    Raises:
        StvmError: it is a file, or nothing can be written to it.
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


def refuse_file(folder: Path, option: str) -> None:
    """Raise if what should be a folder, or one that holds it, is a file.

    Raises:
        StvmError: it is.
    """
    for path in (folder, *folder.absolute().parents):
        if path.is_file():
            raise StvmError(f"{option} {folder}: {path} is a file; name a folder")


def checked_name(name: str, option: str) -> str:
    """A text that becomes the name of files below a folder; slashes make folders in it.

    Raises:
        StvmError: it would lead elsewhere, or file systems do not take it.
    """
    parts = name.split("/")
    if (
        any(part.strip() in ("", ".", "..") or part.startswith(".") for part in parts)
        or "\\" in name
        or any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
        or any(len(os.fsencode(part)) > _MOST_BYTES for part in parts)
    ):
        raise StvmError(
            f"{option} {name!r} becomes the name of files: take letters, digits and what does not "
            f"begin with a dot, at most {_MOST_BYTES} bytes, as in 'alpha-beta'"
        )
    return name


def file_sha256(path: Path) -> str:
    """SHA-256 of a file; empty where there is none.

    Raises:
        StvmError: it cannot be read.
    """
    if not path.is_file():
        return ""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error, "copy it again") from error
