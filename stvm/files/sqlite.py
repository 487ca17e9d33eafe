"""A database's file as a URL."""

from pathlib import Path

from sqlalchemy import URL, make_url

from stvm.errors import StvmError


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, in which `?`, `%` and braces of its path mean themselves.

    Raises:
        StvmError: a path that the installed SQLAlchemy cannot be given.
    """
    url = URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
    if make_url(url).database != str(path):
        # SQLAlchemy before 2.1 neither quotes nor unquotes the path.
        url = f"sqlite:///{path}"
    if make_url(url).database != str(path) or "{" in url:
        raise StvmError(f"{path}: such a path cannot hold a database; name another")
    # Made here, since SQLite would make it less open than the umask says.
    path.touch()
    return url
