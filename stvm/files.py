"""Writing below a folder, with failures in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path

from stvm.errors import StvmError


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
