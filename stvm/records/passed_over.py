"""Going on without a file that cannot be used, after a line that names it is noted."""

from collections.abc import Iterator
from contextlib import contextmanager

from stvm.errors import StvmError


@contextmanager
def going_on(lines: list[str] | None) -> Iterator[None]:
    """Note an error in `lines`, once, and go on after the block; without a list it is raised.

    Raises:
        StvmError: the block raised it, and there is no list.
    """
    try:
        yield
    except StvmError as error:
        if lines is None:
            raise
        if str(error) not in lines:
            lines.append(str(error))
