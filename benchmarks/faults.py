"""A disk that fills up, and losses that are no number, against a study and a search."""

import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from audits import ROOT, SMALL, audit, audit_search, events, kept_studies, search_words, words

from stvm.records.results import Results

DISK = 4 * 2**20
"""Bytes of the disk that fills up."""
FULL = re.compile(r"No space left|disk is full")
"""What the system says of it, and what SQLite says."""


def disk(folder: Path) -> bool:
    """A disk that fills up amid a study; whether all is recorded once there is room."""
    command = words("variance.py", folder, "--seeds", "0", "1", "2", "3", iterations=20)
    with small_disk(folder / "results") as mounted:
        if not mounted:
            return _limited(folder)
        return _fill(command, folder / "results", 320) and audit(folder / "results") == (0, 0)


def search_disk(folder: Path) -> bool:
    """A disk that fills up amid a search; whether all is recorded and told once there is room."""
    command = search_words(folder, 6, iterations=20)
    with small_disk(folder / "results") as mounted:
        if not mounted:
            return _limited_search(command, folder / "results")
        return _fill(command, folder / "results", 480) and audit_search(folder / "results")


def _fill(command: Sequence[str], results: Path, free: int) -> bool:
    """Run with so many KiB free, then with room; whether it fails, says why, and then ends well."""
    ballast = results / "ballast"
    ballast.write_bytes(bytes(DISK - free * 2**10))
    full = subprocess.run(command, capture_output=True, text=True)
    said = [line for line in full.stderr.splitlines() if FULL.search(line)]
    before = len(Results(results).names())
    ballast.unlink()
    again = subprocess.run(command, capture_output=True, text=True)
    print(f"  full: exit code {full.returncode}, {before} recorded, {said[:1]}")
    print(f"  with room again: exit code {again.returncode}")
    return full.returncode != 0 and bool(said) and again.returncode == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of `DISK` bytes; False where this user may not mount one."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    try:
        mounted = not subprocess.run(mount, capture_output=True).returncode
    except OSError:
        mounted = False
    print(f"  by {'a tmpfs of 4 MiB' if mounted else 'a limit on file sizes: no right to mount'}")
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def _limited(folder: Path) -> bool:
    """One trial whose files may hold 4 KiB, without Ray, whose own files would not fit either."""
    code = (
        "import sys, torch\nfrom pathlib import Path\nfrom stvm.settings import Settings\n"
        "from stvm.records.results import Results\n"
        "from stvm.trial.run_and_record import run_and_record\n"
        f"settings = Settings().replace(**{SMALL | {'iterations': 5}!r})\n"
        f"run_and_record(settings, Results(Path({str(folder / 'results')!r})), "
        f"Path({str(folder / 'cache')!r}), torch.device('cpu'))"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    # The cache is filled without a limit, so that the trial's own files are what does not fit.
    small = [sys.executable, "-c", code]
    subprocess.run(small, capture_output=True, cwd=ROOT)
    shutil.rmtree(folder / "results")
    full = subprocess.run(small, capture_output=True, text=True, cwd=ROOT, preexec_fn=limit)
    before = Results(folder / "results").names()
    again = subprocess.run(small, capture_output=True, cwd=ROOT)
    said = (full.stderr.splitlines() or [""])[-1]
    print(f"  full: exit code {full.returncode}, {len(before)} of 1 recorded, {said!r}")
    print(f"  with room again: exit code {again.returncode}")
    return full.returncode != 0 and not before and again.returncode == 0


def _limited_search(command: Sequence[str], results: Path) -> bool:
    """Files may hold 4 KiB: Optuna's storage does not fit, which is known before Ray starts."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    full = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    again = subprocess.run(command, capture_output=True, text=True)
    said = full.stderr.splitlines()
    print(f"  full: exit code {full.returncode}, {said[-1:]}")
    print(f"  with room again: exit code {again.returncode}")
    sound = full.returncode == 2 and len(said) == 1 and again.returncode == 0
    return sound and audit_search(results)


def diverging(folder: Path) -> bool:
    """A trial whose loss is no number; whether it is a failed record that is not tried again."""
    command = words("variance.py", folder, "--seeds", "0", lr="1e30", metric_lr="1e30")
    first = subprocess.run(command, capture_output=True, text=True)
    again = subprocess.run(command, capture_output=True, text=True)
    store = Results(folder / "results")
    records = [store.read(name) for name in store.names()]
    failures = [r.reason for r in records if r and not r.is_done]
    print(f"  exit codes {first.returncode} and {again.returncode}, recorded as failed: {failures}")
    sound = audit(folder / "results") == (0, 0)
    return sound and len(failures) == 1 and (first.returncode, again.returncode) == (1, 1)


def diverging_search(folder: Path) -> bool:
    """A search of losses that are no number; whether each is told once and not tried again."""
    command = search_words(folder, 4, lr="1e30", metric_lr="1e30")
    first = subprocess.run(command, capture_output=True, text=True)
    results = folder / "results"
    starts = len(events(results))
    again = subprocess.run(command, capture_output=True, text=True)
    store = Results(results)
    records = [store.read(name) for name in store.names()]
    failed = [r for r in records if r and not r.is_done]
    print(f"  exit codes {first.returncode} and {again.returncode}, recorded failed {len(failed)}")
    print(f"  {(again.stderr.splitlines() or [''])[-1]}")
    sound = audit_search(results) and len(failed) == len(records) == 4
    with kept_studies(results) as studies:
        states = [trial.state.name for study in studies for trial in study.trials]
    sound = sound and states == 4 * ["FAIL"]
    codes = (first.returncode, again.returncode)
    return sound and codes == (1, 1) and len(events(results)) == starts
