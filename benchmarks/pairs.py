"""Two drivers on one folder of results: undisturbed, and with one of them killed."""

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

from audits import audit, events, words
from processes import Driver, descendants

TRIALS = 18


def pair(folder: Path, rng: random.Random) -> bool:
    """Both share 18 trials, first in peace; whether each is started once, and what a kill costs."""
    peace, war = folder / "peace", folder / "war"
    for place in (peace, war):
        place.mkdir()
    calm = _both(peace, rng, kills=False)
    print(f"  undisturbed: {_starts(peace)} starts for {TRIALS} trials", flush=True)
    sound = _both(war, rng, kills=True)
    print(f"  one killed: {_starts(war)} starts for {TRIALS} trials", flush=True)
    return calm and sound and _starts(peace) == TRIALS


def _both(folder: Path, rng: random.Random, kills: bool) -> bool:
    """Two drivers started together; whether all is recorded and nothing finished ran twice."""
    seeds = map(str, range(TRIALS))
    command = words("variance.py", folder, "--seeds", *seeds, "--cpus-per-trial", "1")
    drivers = [Driver(command, folder / f"{n}.txt", f"{n}-{os.getpid()}") for n in ("one", "two")]
    try:
        for driver in drivers:
            driver.start()
        if kills:
            _kill_amid(drivers[0], folder / "results", rng)
        left = drivers[1:] if kills else drivers
        codes = [driver.process.wait() for driver in left if driver.process]
    finally:
        for driver in drivers:
            driver.stop()
    told = [_told(driver.log) for driver in left]
    sound = audit(folder / "results") == (0, 0)
    return sound and not any(codes) and all(f"{TRIALS} of {TRIALS} trials" in line for line in told)


def _kill_amid(driver: Driver, results: Path, rng: random.Random) -> None:
    """SIGKILL to a driver that runs a trial, once some are recorded."""
    assert driver.process
    while driver.ended() is None:
        recorded = len(list(results.glob("records/[!.]*.json")))
        if recorded >= 3 and _at_work(events(results), driver.process.pid):
            time.sleep(rng.uniform(0, 1))
            driver.kill(group=False)
            print(f"  killed with {recorded} of {TRIALS} recorded", flush=True)
            return
        time.sleep(0.02)


def _at_work(noted: Sequence[dict[str, object]], driver: int) -> bool:
    """The driver has a worker with a trial in hand."""
    pids: dict[object, object] = {}
    for event in noted:
        pids.pop(event["hash"], None)
        if event["event"] == "start":
            pids[event["hash"]] = event["pid"]
    return bool({process.pid for process in descendants(driver)} & set(pids.values()))


def _starts(folder: Path) -> int:
    return sum(event["event"] == "start" for event in events(folder / "results"))


def _told(log: Path) -> str:
    """The last line that a driver printed."""
    return (log.read_text().splitlines() or [""])[-1]
