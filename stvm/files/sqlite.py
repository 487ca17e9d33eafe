"""The URL of a database's file."""

from pathlib import Path

from sqlalchemy import URL, make_url

from stvm.errors import StvmError


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file; `?`, `%` and braces in its path mean themselves.

    Raises:
        StvmError: the installed SQLAlchemy cannot take such a path.
    """
    url = URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
    if make_url(url).database != str(path):
        # SQLAlchemy before 2.1 neither quotes nor unquotes the path.
        url = f"sqlite:///{path}"
    if make_url(url).database != str(path) or "{" in url:
        raise StvmError(f"{path}: a database cannot have such a path; name another")
    # The file is made here: SQLite would ignore part of the umask.
    path.touch()
    return url
