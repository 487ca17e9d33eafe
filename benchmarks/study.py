"""`python benchmarks/study.py`: what a study costs beside its trials, against a process pool.

Wall time of the whole command, Python's start included, over the sum of its trials' times
divided by the slots: 1.00 would be slots that are never idle. The pool is
`concurrent.futures` with as many spawned processes, which does nothing but run the trials.
"""

import argparse
import math
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from studies.cli import study_main
from stvm.records.results import Results
from stvm.settings import Settings, digest
from stvm.settings.presets import find_preset
from stvm.study import Study, Trial

SIZE = {
    "source_images": "16",
    "target_images": "32",
    "eval_images": "8",
    "source_iterations": "20",
    "source_batch": "2",
    "crop_height": "64",
    "crop_width": "64",
    "batch": "2",
}
"""Trials whose time is their iterations'; what they learn does not matter."""

PROBES = (40, 240)
"""Iterations of the trials by which the others are sized."""

TARGETS = {5.0: 1.35, 60.0: 1.05}
"""Ratio by seconds of a trial that a study should keep to."""


def build(
    preset: str,
    changes: dict[str, str],
    seeds: Sequence[int],
    realisations: Sequence[int] | None = None,
) -> Study:
    """A study of equal trials, one a seed."""
    base = find_preset(preset).settings(**(SIZE | changes))
    trials = tuple(Trial("STvM", s, 0, False, base.replace(seed=s)) for s in seeds)
    name = "efficiency"
    return Study(name, 0, preset, digest(base.flat()), "Equal trials", "none", "streets", trials)


def run_pool(preset: str, changes: dict[str, str], seeds: Sequence[int], places: "Places") -> None:
    """The same trials by a process pool."""
    trials = build(preset, changes, seeds).trials
    context = multiprocessing.get_context("spawn")
    work = partial(_record, places=places)
    with ProcessPoolExecutor(places.slots, mp_context=context) as pool:
        list(pool.map(work, [trial.settings for trial in trials]))


@dataclass(frozen=True)
class Places:
    """Where trials run and write."""

    results: Path
    cache: Path
    slots: int


def _record(settings: Settings, places: Places) -> None:
    import torch

    from stvm.trial.run_and_record import run_and_record

    torch.set_num_threads(1)
    run_and_record(settings, Results(places.results), places.cache, torch.device("cpu"))


def measure(executor: str, count: int, changes: Sequence[str], places: Places) -> tuple[float, ...]:
    """Wall seconds and the trials' own seconds over the slots, of a command of its own."""
    arguments = ["--seeds", *map(str, range(count)), "--results", str(places.results)]
    arguments += ["--cache", str(places.cache), *changes]
    inner = [sys.executable, __file__, executor, "--slots", str(places.slots), *arguments]
    start = time.perf_counter()
    done = subprocess.run(inner, capture_output=True, text=True)
    wall = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"error: {executor} ended with {done.returncode}: {done.stderr[-500:]}")
    return wall, sum(seconds(places.results)) / places.slots


def seconds(results: Path) -> list[float]:
    """Seconds of each recorded trial."""
    records = [Results(results).read(name) for name in Results(results).names()]
    return [record.run["seconds"] for record in records if record]


def calibrate(changes: Sequence[str], folder: Path, slots: int) -> tuple[float, float]:
    """Seconds of a trial beside its iterations, and of one iteration, all slots at work."""
    cost = []
    for iterations in PROBES:
        places = Places(folder / f"probe-{iterations}", folder / "cache", slots)
        # The first probe makes images and source model for all.
        for _ in range(2 if iterations == PROBES[0] else 1):
            shutil.rmtree(places.results, ignore_errors=True)
            _, own = measure("pool", slots, [*changes, f"iterations={iterations}"], places)
        cost.append(own)
    each = max(1e-4, (cost[1] - cost[0]) / (PROBES[1] - PROBES[0]))
    return max(0.0, cost[0] - PROBES[0] * each), each


def report(count: int, aim: float, changes: Sequence[str], folder: Path, slots: int) -> None:
    """Two lines: the study and the pool."""
    for executor in ("study", "pool"):
        results = folder / f"{executor}-{count}-{aim:g}"
        wall, own = measure(executor, count, changes, Places(results, folder / "cache", slots))
        target = f"at most {TARGETS[aim]:.2f}" if aim in TARGETS and executor == "study" else ""
        mean = own * slots / count
        print(
            f"{count:3d} x {mean:5.1f} s  {executor:6s} {wall:8.1f} s {own:8.1f} s "
            f"{wall / own:7.3f}  {target}".rstrip(),
            flush=True,
        )


def batch(text: str) -> tuple[int, float]:
    """Number of trials and seconds of each."""
    count, _, aim = text.partition("x")
    try:
        return int(count), float(aim)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 20x5") from None


def inner(arguments: list[str]) -> int:
    """One executor in a process of its own."""
    executor, slots, rest = arguments[0], int(arguments[2]), arguments[3:]
    if executor == "study":
        return study_main(build, "equal trials", rest)
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--cache", type=Path)
    changes: dict[str, str] = dict(a.split("=", 1) for a in rest if "=" in a)
    given: Any = parser.parse_args([a for a in rest if "=" not in a])
    run_pool("demo", changes, given.seeds, Places(given.results, given.cache, slots))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in ("study", "pool"):
        return inner(given)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", nargs="+", type=batch, default=[(20, 5.0), (8, 60.0)])
    parser.add_argument("--slots", type=int, default=multiprocessing.cpu_count())
    options, changes = parser.parse_known_args(given)
    with tempfile.TemporaryDirectory(prefix="stvm-efficiency-") as name:
        fixed, each = calibrate(changes, Path(name), options.slots)
        print(f"a trial: {fixed:.2f} s and {1e3 * each:.1f} ms an iteration, {options.slots} slots")
        print("trials         executor    wall     ideal   ratio", flush=True)
        for count, aim in options.batches:
            iterations = max(1, math.floor((aim - fixed) / each))
            more = [*changes, f"iterations={iterations}"]
            report(count, aim, more, Path(name), options.slots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
