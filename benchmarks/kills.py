"""`python benchmarks/kills.py [--kills 20]`: SIGKILLs, a full disk and a NaN against studies.

A study of small trials and an Optuna search are killed at random times, driver and workers in
turns, the driver sometimes with its whole process group, and started again with the same command
until all is recorded. Both also meet a disk that fills up and losses that are no number; and two
drivers share a study, undisturbed and with one of them killed. Printed are trials listed, recorded,
lost, and started again after they had finished; exit code 1 unless the last two are 0. Linux only.
Ends only what it started.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from audits import SMALL, audit, audit_search, events, search_words, words
from faults import disk, diverging, diverging_search, search_disk
from pairs import pair
from processes import Driver, Process, descendants

Grow = Callable[[int], list[str]]
"""Words of a command that lists so many rounds of trials."""


def at_work(results: Path, driver: Driver) -> list[Process]:
    """Workers of the driver with a trial in hand."""
    pids: dict[str, int] = {}
    for event in events(results):
        pids.pop(event["hash"], None)
        if event["event"] == "start":
            pids[event["hash"]] = event["pid"]
    assert driver.process
    return [p for p in descendants(driver.process.pid) if p.pid in pids.values()]


def attack(kills: int, grow: Grow, folder: Path, rng: random.Random, mark: str) -> Driver:
    """Kill and restart until all kills are done, then let the command end.

    A command that ends before is given more trials, so that no kill falls into nothing.
    """
    done, rounds = Counter[str](), 1
    driver = Driver(grow(rounds), folder / "log.txt", mark)
    driver.start()
    try:
        while done.total() < kills:
            who = ("driver", "worker", "group", "worker")[done.total() % 4]
            if not _strike(driver, who, folder / "results", rng):
                rounds += 1
                driver.command = grow(rounds)
                driver.start()
                continue
            done[who] += 1
            if who != "worker":
                driver.start()
        assert driver.process
        driver.process.wait()
    finally:
        driver.stop()
    print(f"  kills: {', '.join(f'{n} {who}' for who, n in done.items())}; {rounds} rounds")
    print(
        f"  what a dead driver had started was gone after {driver.slowest:.1f} s at most; "
        f"{driver.forced} processes had to be killed"
    )
    return driver


def _strike(driver: Driver, who: str, results: Path, rng: random.Random) -> bool:
    """One kill at a random time; False where the command had ended by itself."""
    # A quarter of the kills fall anywhere in the command's life, the others while trials run.
    early = who != "worker" and rng.random() < 0.25
    end = time.monotonic() + rng.uniform(0, 12) if early else None
    while driver.ended() is None:
        workers = at_work(results, driver)
        if end is None and workers:
            end = time.monotonic() + rng.uniform(0, 4)
        if end is not None and time.monotonic() > end and (workers or who != "worker"):
            if who == "worker":
                rng.choice(workers).kill()
            else:
                driver.kill(group=who == "group")
            return True
        time.sleep(0.02)
    return False


def study(kills: int, folder: Path, rng: random.Random) -> bool:
    """Kills over a study of one trial a seed; whether it stood them."""

    def grow(rounds: int) -> list[str]:
        seeds = map(str, range(20 + 5 * rounds))
        return words("variance.py", folder, "--seeds", *seeds)

    driver = attack(kills, grow, folder, rng, f"study-{os.getpid()}")
    return audit(folder / "results") == (0, 0) and driver.ended() == 0


def search(kills: int, folder: Path, rng: random.Random) -> bool:
    """Kills over an Optuna search; whether it stood them."""

    def grow(rounds: int) -> list[str]:
        return search_words(folder, 20 + 5 * rounds)

    driver = attack(kills, grow, folder, rng, f"search-{os.getpid()}")
    return audit_search(folder / "results") and driver.ended() == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the times and of the victims")
    parts = ("study", "search", "pair", "disk", "nan", "search-disk", "search-nan")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep results and logs here")
    parser.add_argument("--iterations", type=int, default=SMALL["iterations"], help="of a trial")
    options = parser.parse_args(arguments)
    SMALL["iterations"] = options.iterations
    # So that a request to end ends what was started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rng = random.Random(options.seed)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="stvm-kills-"))
    work: dict[str, Callable[[Path], bool]] = {
        "study": lambda place: study(options.kills, place, rng),
        "search": lambda place: search(options.kills, place, rng),
        "pair": lambda place: pair(place, rng),
        "disk": disk,
        "nan": diverging,
        "search-disk": search_disk,
        "search-nan": diverging_search,
    }
    sound = True
    for part in options.only:
        print(part, flush=True)
        (folder / part).mkdir(parents=True)
        passed = work[part]((folder / part).resolve())
        print(f"  {'stood' if passed else 'NOT SOUND'}", flush=True)
        sound &= passed
    if sound and not options.keep:
        shutil.rmtree(folder)
    else:
        print(f"kept in {folder}")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
