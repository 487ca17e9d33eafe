"""`python benchmarks/tables.py`: the time from 10,000 records to all tables.

Makes synthetic results in a temporary folder, then runs `reports/make_tables.py` twice on one core,
each in a process of its own. Prints the time of each, that of only reading the same files, and
whether both wrote the same bytes; the exit code is 0 where they did, each within the limit.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from study_results import make_results

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 5.0
_REALISATIONS = 10
_PER_SEED = 46
"""Distinct trials that the studies have for a realisation and seed."""


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _make_tables(results: Path) -> tuple[float, dict[str, bytes]]:
    command = [sys.executable, str(ROOT / "reports/make_tables.py"), "--results", str(results)]
    start, before = time.perf_counter(), _cpu()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    print(f"all tables: {seconds:.2f} s, CPU {_cpu() - before:.2f} s")
    files = {path.name: path.read_bytes() for path in sorted((results / "tables").iterdir())}
    return seconds, files


def _read_only(results: Path) -> tuple[float, int, int]:
    start = time.perf_counter()
    sizes = [len(path.read_bytes()) for path in (results / "records").iterdir()]
    return time.perf_counter() - start, len(sizes), sum(sizes)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000, metavar="N", help="at least so many")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 where it took too long or wrote other bytes the second time."""
    wanted = _arguments(arguments).records
    seeds = -(-wanted // (_REALISATIONS * _PER_SEED))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        results = make_results(Path(folder), seeds=range(seeds), realisations=range(_REALISATIONS))
        reading, count, size = _read_only(results)
        print(f"{count} records of {size / count / 1e3:.1f} kB; reading them: {reading:.2f} s")
        first, one = _make_tables(results)
        second, other = _make_tables(results)
    same = one == other
    print(f"{len(one)} files, {'the same bytes' if same else 'OTHER BYTES'} twice; one core")
    print(f"slower of two: {max(first, second):.2f} s (limit {LIMIT:.0f} s)")
    return 0 if same and max(first, second) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
