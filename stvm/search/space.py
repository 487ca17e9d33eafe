"""The space of a search: settings with a `search` range, as Optuna's distributions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution

from stvm.errors import StvmError
from stvm.settings import Settings, field_of, group_of

DEFAULT_PARAMETERS = ("alpha", "beta", "temperature")
DIGITS = 3
"""Significant digits of a suggestion: more would name trials that nobody can tell apart."""

Values = dict[str, float | int]
"""Setting to value."""


@dataclass(frozen=True)
class Parameter:
    """A setting to search.

    Attributes:
        name: name of the setting.
        low: least value.
        high: greatest value.
        log: the range spans a decade or more and is searched by its logarithm.
        integer: whole numbers only.
        grid: the paper's Table V values that lie in the range.
    """

    name: str
    low: float
    high: float
    log: bool
    integer: bool
    grid: tuple[float | int, ...]

    @property
    def distribution(self) -> FloatDistribution | IntDistribution:
        """The range as Optuna's distribution."""
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def rounded(self, value: float | int) -> float | int:
        """A suggestion with few digits; it stays in the range, whose ends have fewer."""
        return int(value) if self.integer else float(f"{value:.{DIGITS}g}")

    def holds(self, value: float | int) -> bool:
        """Whether a value lies in the range."""
        return self.low <= value <= self.high

    def as_dict(self) -> dict[str, Any]:
        """The range in a manifest and in Optuna's storage."""
        return {"low": self.low, "high": self.high, "log": self.log, "integer": self.integer}


def searchable() -> list[str]:
    """Settings that have a search range, in the order of `stvm/settings/`."""
    return [name for name in Settings().flat() if _extra(name).get("search")]


def find_parameters(names: Sequence[str], base: Settings) -> tuple[Parameter, ...]:
    """Parameters by name, in the order of `stvm/settings/`, so that one search has one name.

    Raises:
        StvmError: an unknown setting, one without range, or one that `base` makes idle.
    """
    for name in names:
        group_of(name)
        if name not in searchable():
            raise StvmError(
                f"'{name}' has no search range: choose from {', '.join(searchable())}, "
                "or add a range beside its default in stvm/settings/"
            )
    found = tuple(_parameter(name) for name in searchable() if name in names)
    for p in found:
        if base.replace(**{p.name: p.low}).hash() == base.replace(**{p.name: p.high}).hash():
            raise StvmError(
                f"'{p.name}' changes nothing with these settings, its part of the method is off: "
                "leave it out of --parameters, or turn the part on"
            )
    return found


def default_values(parameters: Sequence[Parameter], base: Settings) -> Values:
    """The values of the parameters in `base`, which may lie outside their ranges."""
    flat = base.flat()
    return {p.name: flat[p.name] for p in parameters}


def format_assignments(values: Values) -> str:
    """Values as a command line sets them."""
    return " ".join(f"{name}={value:.6g}" for name, value in values.items())


def search_split(base: Settings) -> str:
    """The split a search may look at: val where there is one, else the base's."""
    data = base.data
    held_out = data.dataset == "streets" or (Path(data.target_root) / "val").is_dir()
    return "val" if held_out else base.training.eval_split


def _parameter(name: str) -> Parameter:
    low, high = _extra(name)["search"]
    integer = field_of(name).annotation is int
    grid = tuple(int(v) if integer else float(v) for v in _extra(name).get("grid", ()))
    inside = tuple(v for v in grid if low <= v <= high)
    return Parameter(name, low, high, low > 0 and high / low >= 10, integer, inside)


def _extra(name: str) -> dict[str, Any]:
    extra = field_of(name).json_schema_extra
    return extra if isinstance(extra, dict) else {}
