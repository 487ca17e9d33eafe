"""The values of a command line, checked, and complaints about them in one line."""

import argparse
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, and where the options are explained."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def whole_number(text: str, least: int = 0) -> int:
    """A whole number of a command line, for argparse."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    return whole_number(text, least=1)


def gpu_share(text: str) -> float:
    """A part of one GPU or a number of whole ones, for argparse."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not (0 <= value <= 1 or value.is_integer() and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is neither in 0..1 nor a whole number")
    return value
