"""`python benchmarks/kills.py [--kills 20]`: SIGKILLs, a full disk and a NaN against studies.

A study of small trials and an Optuna search are killed at random times, driver and workers in
turns, the driver sometimes with its whole process group, and started again with the same command
until all is recorded. Printed are trials listed, recorded, lost, and started again after they had
finished; exit code 1 unless the last two are 0. Linux only. Ends only what it started.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from processes import Driver, Process, descendants

from stvm.records import Results

ROOT = Path(__file__).resolve().parents[1]

SMALL = {
    "source_images": 8,
    "target_images": 8,
    "eval_images": 4,
    "source_iterations": 4,
    "source_batch": 2,
    "channels": 16,
    "iterations": 200,
    "batch": 2,
    "n_f": 16,
    "crop_height": 32,
    "crop_width": 32,
    "lr": 0.001,
}
"""Trials of a few seconds; what they learn does not matter."""

Grow = Callable[[int], list[str]]
"""Words of a command that lists so many rounds of trials."""


def words(script: str, folder: Path, *more: str, **changes: Any) -> list[str]:
    """A study's command on small trials."""
    places = ["--results", str(folder / "results"), "--cache", str(folder / "cache")]
    settings = [f"{name}={value}" for name, value in (SMALL | changes).items()]
    places += ["--keep-every", "1"]
    return [sys.executable, str(ROOT / "studies" / script), *places, *more, *settings]


def events(results: Path) -> list[dict[str, Any]]:
    """What the trials noted; a line cut short by a kill is left out."""
    path = results / "events.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


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


def audit(results: Path) -> tuple[int, int]:
    """Trials lost and trials started again after they had finished, printed with the rest."""
    manifests = [json.loads(p.read_text()) for p in sorted((results / "studies").glob("*.json"))]
    listed = {entry["hash"] for manifest in manifests for entry in manifest["trials"]}
    store = Results(results)
    recorded = {name for name in store.names() if store.read(name)}
    finished: set[str] = set()
    twice = starts = 0
    for event in events(results):
        starts += event["event"] == "start"
        twice += event["event"] == "start" and event["hash"] in finished
        if event["event"] != "start":
            finished.add(event["hash"])
    lost = len((listed | finished) - recorded)
    print(
        f"  trials listed {len(listed)}, recorded {len(recorded)}, starts {starts}, lost {lost}, "
        f"started again after finishing {twice}"
    )
    return lost, twice


def study(kills: int, folder: Path, rng: random.Random) -> bool:
    """Kills over a study of one trial a seed; whether it stood them."""

    def grow(rounds: int) -> list[str]:
        seeds = map(str, range(20 + 5 * rounds))
        return words("variance.py", folder, "--seeds", *seeds)

    driver = attack(kills, grow, folder, rng, f"study-{os.getpid()}")
    return audit(folder / "results") == (0, 0) and driver.ended() == 0


def search(kills: int, folder: Path, rng: random.Random) -> bool:
    """Kills over an Optuna search; whether it stood them."""
    import optuna

    def grow(rounds: int) -> list[str]:
        trials = str(20 + 5 * rounds)
        return words("optuna_search.py", folder, "--trials", trials, "--seeds", "0")

    driver = attack(kills, grow, folder, rng, f"search-{os.getpid()}")
    sound = audit(folder / "results") == (0, 0) and driver.ended() == 0
    (storage,) = (folder / "results" / "searches").glob("*.db")
    studies = optuna.get_all_study_summaries(f"sqlite:///{storage}")
    kept = optuna.load_study(study_name=studies[0].study_name, storage=f"sqlite:///{storage}")
    states = Counter(trial.state.name for trial in kept.trials)
    same = Counter(json.dumps(t.params, sort_keys=True) for t in kept.trials)
    duplicates = sum(count - 1 for count in same.values())
    print(
        f"  studies in the storage {len(studies)}, trials {dict(states)}, "
        f"RUNNING left {states['RUNNING']}, duplicate parameters {duplicates}"
    )
    return sound and len(studies) == 1 and not states["RUNNING"] and not duplicates


def disk(folder: Path) -> bool:
    """A disk that fills up amid a study; whether all is recorded once there is room."""
    command = words("variance.py", folder, "--seeds", "0", "1", "2", "3", iterations=20)
    with small_disk(folder / "results") as mounted:
        if not mounted:
            return _limited(folder)
        ballast = folder / "results" / "ballast"
        ballast.write_bytes(bytes(2 * 2**20 - 320 * 2**10))
        full = subprocess.run(command, capture_output=True, text=True)
        said = [line for line in full.stderr.splitlines() if "No space left" in line]
        before = len(Results(folder / "results").names())
        ballast.unlink()
        again = subprocess.run(command, capture_output=True, text=True)
        print(f"  full: exit code {full.returncode}, {before} of 4 recorded, {said[:1]}")
        print(f"  with room again: exit code {again.returncode}")
        sound = audit(folder / "results") == (0, 0)
        return sound and full.returncode != 0 and bool(said) and again.returncode == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of 2 MiB; False where this user may not mount one."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        mounted = not subprocess.run(mount, capture_output=True).returncode
    except OSError:
        mounted = False
    print(f"  by {'a tmpfs of 2 MiB' if mounted else 'a limit on file sizes: no right to mount'}")
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def _limited(folder: Path) -> bool:
    """One trial whose files may hold 4 KiB, without Ray, whose own files would not fit either."""
    code = (
        "import sys, torch\nfrom pathlib import Path\nfrom stvm.settings import Settings\n"
        "from stvm.records import Results\nfrom stvm.trial import run_and_record\n"
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


def diverging(folder: Path) -> bool:
    """A trial whose loss is no number; whether it is a failed record that is not tried again."""
    command = words("variance.py", folder, "--seeds", "0", lr="1e30", metric_lr="1e30")
    first = subprocess.run(command, capture_output=True, text=True)
    again = subprocess.run(command, capture_output=True, text=True)
    store = Results(folder / "results")
    records = [store.read(name) for name in store.names()]
    failures = [r["failure"]["error"] for r in records if r and r["status"] == "failed"]
    print(f"  exit codes {first.returncode} and {again.returncode}, recorded as failed: {failures}")
    sound = audit(folder / "results") == (0, 0)
    return sound and len(failures) == 1 and (first.returncode, again.returncode) == (1, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the times and of the victims")
    parts = ("study", "search", "disk", "nan")
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
        "disk": disk,
        "nan": diverging,
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
