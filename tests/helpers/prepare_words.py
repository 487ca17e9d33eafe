"""The words of a `prepare` command on tiny trees of published data sets."""

from pathlib import Path

from studies.__main__ import main


def assignments(root: Path, dataset: str, *changes: str) -> list[str]:
    source, target = dataset.split("_")
    held_out = "eval_split=test" if target == "crosscity" else "eval_split=val"
    city = ["city=rome"] if target == "crosscity" else []
    sizes = "height=48 width=96 source_height=40 source_width=72 crop_height=32 crop_width=32"
    roots = [f"source_root={root / source}", f"target_root={root / target}"]
    return [f"dataset={dataset}", held_out, *city, *sizes.split(), *roots, *changes]


def but(given: list[str], change: str) -> list[str]:
    """Assignments of which one is another."""
    name = change.partition("=")[0]
    return [*(item for item in given if not item.startswith(f"{name}=")), change]


def prepare(cache: Path, given: list[str], *options: str) -> int:
    return main(["prepare", "--cache", str(cache), "--workers", "1", *given, *options])
