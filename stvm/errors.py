"""The errors a user can cause or meet; each message is one line that says what to do."""

import difflib
from collections.abc import Iterable


class StvmError(Exception):
    """A problem the user can mend: the message names the file, key or value and what to do."""


def unknown(what: str, name: str, names: Iterable[str]) -> StvmError:
    """The error for a name that none of `names` is; it proposes the nearest and lists all."""
    known = list(names)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return StvmError(
        f"unknown {what} '{name}': did you mean '{near}'? there are {', '.join(known)}"
    )


class DivergenceError(StvmError):
    """A loss that is not finite; the trial fails, the others go on.

    Attributes:
        iteration: iteration (from 1) at which the loss stopped being finite.
        seed: seed of the trial.
        rates: learning rates that may be to blame; empty where nothing had been updated yet.
    """

    def __init__(self, iteration: int, seed: int, value: float, rates: str) -> None:
        advice = f"lower {rates}, or look at the images of this iteration"
        if not rates:
            advice = "no weight had been updated, so look at the weights that training starts from"
        super().__init__(f"loss is {value} at iteration {iteration} with seed {seed}: {advice}")
        self.iteration = iteration
        self.seed = seed
        self.value = value
        self.rates = rates

    def __reduce__(self) -> tuple[type, tuple[int, int, float, str]]:
        return type(self), (self.iteration, self.seed, self.value, self.rates)
