"""Errors that a user can cause or meet. Each message is one line and says what to do."""

import difflib
import os
from collections.abc import Iterable


class StvmError(Exception):
    """A problem that the user can solve. The message names the file, key or value."""


def _in_small_letters(names: Iterable[str]) -> dict[str, str]:
    # Turned, so that of two names that differ in capitals the first stays.
    return {name.lower(): name for name in reversed(list(names))}


def as_known(name: str, names: Iterable[str]) -> str:
    """The first known name that differs in capitals at most; the name itself if there is none."""
    return _in_small_letters(names).get(name.lower(), name)


def nearest(name: str, names: Iterable[str]) -> str:
    """The known name that an unknown one is near to, whatever its capitals; empty for none."""
    known = _in_small_letters(names)
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return known[near[0]] if near else ""


def unknown(what: str, name: str, names: Iterable[str], listed: str = "") -> StvmError:
    """The error for an unknown name. It proposes a known name that is near, if there is one.

    Args:
        what: noun for the names.
        name: the unknown name.
        names: known names.
        listed: sentence that says where they are listed; empty to list them all here.
    """
    known = list(names)
    near = nearest(name, known)
    proposal = f"did you mean '{near}'? " if near else ""
    where = listed or f"there are {', '.join(known)}"
    return StvmError(f"unknown {what} '{name}': {proposal}{where}")


def known_name(what: str, name: str, names: Iterable[str], listed: str = "") -> str:
    """The known name that differs in capitals at most; the arguments are those of `unknown`.

    Raises:
        StvmError: there is none.
    """
    known = list(names)
    found = as_known(name, known)
    if found not in known:
        raise unknown(what, name, known, listed)
    return found


def kept_from(error: PermissionError) -> str:
    """A file or folder that the system keeps from this user, as one line with what to do."""
    path = f"{os.fsdecode(error.filename)}: " if error.filename else ""
    reason = error.strerror or one_line(error)
    return f"{path}{reason}; ask its owner for access, or name another file or folder"


USER_ERRORS = (StvmError, PermissionError)
"""Errors that commands tell in one line, by `told_of`."""


def told_of(error: StvmError | PermissionError) -> str:
    """One of `USER_ERRORS` as one line."""
    return kept_from(error) if isinstance(error, PermissionError) else str(error)


def one_line(error: BaseException) -> str:
    """An exception of other code as one line: its kind and the first line of its text."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__


class DivergenceError(StvmError):
    """A loss that is not finite. The trial fails, and the other trials go on.

    Attributes:
        iteration: iteration, from 1, at which the loss was not finite any more.
        seed: seed of the trial.
        value: value of the loss.
        rates: settings of the learning rates that may be too high; empty before the first update.
    """

    def __init__(self, iteration: int, seed: int, value: float, rates: str) -> None:
        advice = f"lower {rates}, or look at the images of this iteration"
        if not rates:
            advice = (
                "no weight had been updated yet, so look at the weights that training starts from"
            )
        super().__init__(f"loss is {value} at iteration {iteration} with seed {seed}: {advice}")
        self.iteration = iteration
        self.seed = seed
        self.value = value
        self.rates = rates

    def __reduce__(self) -> tuple[type, tuple[int, int, float, str]]:
        return type(self), (self.iteration, self.seed, self.value, self.rates)
