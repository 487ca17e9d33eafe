"""The label of a trial for people, as lists, progress, records and tables print it."""

import re

ORACLE = ", oracle's rate"
"""End of the variant of a trial whose learning rate was chosen by target labels."""
_AFTER_VARIANT = re.compile(r" (?:realisation|rome|rio|tokyo|taipei|seed) ?")


def label_parts(
    variant: str, realisation: int | None, seed: int | None, city: str = ""
) -> list[str]:
    """Variant, realisation, city and seed, each where there is one.

    Args:
        variant: name of the row in the study's table.
        realisation: number of the draw of the embedded benchmark; None for other data.
        seed: seed of the training; None where the variant has one trial for all seeds.
        city: target city of Cross-City; empty for other data.
    """
    drawn = [] if realisation is None else [f"realisation {realisation}"]
    seeded = [] if seed is None else [f"seed {seed}"]
    return [variant, *drawn, *([city] if city else []), *seeded]


def variant_of(label: str) -> str:
    """The variant with which a label begins."""
    return _AFTER_VARIANT.split(label)[0]


def has_seed(label: str) -> bool:
    """Whether a label names a seed."""
    return " seed " in label
