"""The values of a command line, checked, and complaints about them in one line."""

import argparse
import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from stvm.errors import as_known
from stvm.settings.presets import PRESETS

PLACES = {
    "--results": ("results", "folder of the records"),
    "--cache": (".cache", "folder of source models and decoded images"),
}
"""Folders that several commands share: default and meaning."""


def add_places(parser: argparse.ArgumentParser, *options: str) -> None:
    """Options for the shared folders.

    Args:
        parser: the parser of a command.
        options: names of the options.
    """
    for option in options:
        default, meaning = PLACES[option]
        parser.add_argument(
            option, type=Path, default=Path(default), metavar="DIR", help=f"{meaning} ({default})"
        )


def whole_number(text: str, least: int = 0) -> int:
    """A whole number of a command line, for argparse."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    return whole_number(text, least=1)


def preset_name(text: str) -> str:
    """The name of a preset in its own capitals, for argparse; an unknown one stays as it is."""
    return as_known(text, PRESETS)


def one_of(names: Iterable[str]) -> dict[str, Any]:
    """Arguments of `add_argument` for one of some names, whatever its capitals."""
    known = tuple(names)
    return {"type": partial(as_known, names=known), "choices": known}


DEVICES = ("cpu", "cuda")
"""Devices that `--device` takes."""


def gibibytes(text: str) -> float:
    """A size of memory in GiB, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size in GiB: give a number such as 11 or 7.8"
        )
    return value


def gpu_share(text: str) -> float:
    """A part of one GPU or a number of whole ones, for argparse."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not (0 <= value <= 1 or value.is_integer() and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is neither in 0..1 nor a whole number")
    return value
