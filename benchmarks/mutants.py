"""`make mutants`: changes the code on purpose, one place at a time; do the tests notice?

cosmic-ray finds the places and makes the changes; `mutants.toml` beside this file says in which
modules, which quick tests must notice, and which changes are equal to the code and why. Each
change is tried in a copy of the tree, in a process forked from one that has loaded torch already.
Results are written to RESULTS/mutants.jsonl as they come; a second run goes on from there, and
tries anew what stands in a module that has changed. The exit code is 1 below 90 per cent.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from mutants_plan import ROOT, Plan, outdated, read_plan

TREE = ("stvm", "studies", "reports", "benchmarks", "tests", "docs")
FILES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")
GOAL = 0.9
SLOWEST_S = 120.0
UNTESTED = "untested"
"""Outcome of a change whose tests fail without it too; it is tried again by the next run."""


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        module: its path.
        operator: cosmic-ray's name of the change.
        occurrence: place of the operator in the module.
        line: of the place.
        version: of the module, 12 digits of its SHA-256.
    """

    module: str
    operator: str
    occurrence: int
    line: int
    version: str

    def mutated(self, source: str) -> str:
        """The module with the change."""
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.plugins import get_operator

        changed: str | None = mutate_code(source, get_operator(self.operator)(), self.occurrence)
        assert changed is not None
        return changed


def mutants_of(module: str, operators: Sequence[str]) -> Iterator[Mutant]:
    """All changes that cosmic-ray finds in a module."""
    from cosmic_ray.ast import ast_nodes, get_ast_from_path
    from cosmic_ray.plugins import get_operator, operator_names

    tree = get_ast_from_path(ROOT / module)
    version = hashlib.sha256((ROOT / module).read_bytes()).hexdigest()[:12]
    for name in operator_names():
        operator_class = get_operator(name)
        if operator_class.arguments() or not name.startswith(tuple(operators)):
            continue
        operator = operator_class()
        places = [start for n in ast_nodes(tree) for start, _ in operator.mutation_positions(n)]
        for occurrence, (line, _) in enumerate(places):
            yield Mutant(module, name, occurrence, line, version)


def changed_line(before: str, after: str) -> str:
    """The first line that differs, as it is after the change."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    return next((new.strip() for old, new in pairs if old != new), "")


class Worker:
    """A copy of the tree, and a process in it that forks one for each run of tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in TREE:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in FILES:
            shutil.copy2(ROOT / name, folder / name)
        self.clock = 1_000_000_000
        server = Path(__file__).with_name("mutants_server.py")
        self.process = subprocess.Popen(
            [sys.executable, str(server)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, tests: Sequence[str], limit: float) -> str:
        """ "passed", "failed" or "timeout"."""
        assert self.process.stdin and self.process.stdout
        print(json.dumps([limit, *tests]), file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip() or "failed"

    def put(self, module: str, text: str) -> None:
        """Write a module; its time tells Python that what it compiled before is of another."""
        path = self.folder / module
        path.write_text(text, encoding="utf-8")
        self.clock += 1
        os.utime(path, (self.clock, self.clock))

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sample", type=int, metavar="N", help="try N, drawn evenly")
    parser.add_argument("--each", type=int, metavar="N", help="try N of each module, so drawn")
    parser.add_argument("--seed", type=int, default=0, help="of the order in which they are tried")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="end after so long")
    parser.add_argument(
        "--modules", nargs="+", metavar="PART", help="whose path holds one of these"
    )
    parser.add_argument("--survivors", action="store_true", help="try those again, but equal ones")
    parser.add_argument("--plan", type=Path, default=Path(__file__).with_name("mutants.toml"))
    options = parser.parse_args(arguments)
    plan, written = read_plan(options.plan), options.results / "mutants.jsonl"
    for module, line in outdated(plan):
        print(f"{options.plan}: no line of {module} is like '{line}' any more", flush=True)
    modules = [m for m in plan.tests if not options.modules or any(p in m for p in options.modules)]
    everything: list[Mutant] = []
    for module in modules:
        found = list(mutants_of(module, plan.operators))
        random.Random(options.seed).shuffle(found)
        everything += found[: options.each]
    random.Random(options.seed).shuffle(everything)
    chosen = everything[: options.sample]
    known = read_results(written)
    survived = {m: found["line"] for m, found in known.items() if found["outcome"] == "survived"}
    again = {m for m, line in survived.items() if (m.module, line) not in plan.equal}
    untested = {m for m, found in known.items() if found["outcome"] == UNTESTED}
    again = untested | (again if options.survivors else set())
    todo = [m for m in chosen if m not in known or m in again]
    print(f"{len(everything)} changes, {len(chosen)} chosen, {len(todo)} to try", flush=True)
    written.parent.mkdir(parents=True, exist_ok=True)
    if todo:
        try_all(todo, plan, written, options.workers, options.budget)
    return report(chosen, read_results(written), plan)


def read_results(path: Path) -> dict[Mutant, dict[str, Any]]:
    """Mutant to its last result."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {Mutant(**row.pop("mutant")): row for row in rows}


def try_all(
    todo: list[Mutant], plan: Plan, written: Path, workers: int, budget: float | None
) -> None:
    """Try all, each worker one at a time, and write down each result at once."""
    queue: Queue[Mutant] = Queue()
    for mutant in todo:
        queue.put(mutant)
    lock, end = threading.Lock(), time.monotonic() + (budget or float("inf"))
    limits: dict[tuple[str, ...], float] = {}
    with tempfile.TemporaryDirectory(prefix="stvm-mutants-") as folder:

        def work(number: int) -> None:
            worker = Worker(Path(folder) / str(number))
            try:
                while time.monotonic() < end:
                    mutant = queue.get_nowait()
                    row = try_one(worker, mutant, plan, limits)
                    with lock, open(written, "a", encoding="utf-8") as file:
                        file.write(json.dumps({"mutant": asdict(mutant)} | row) + "\n")
                        left = queue.qsize()
                    print(
                        f"{left} left: {row['outcome']} {mutant.module}:{mutant.line}", flush=True
                    )
            except Empty:
                pass
            finally:
                worker.close()

        with ThreadPoolExecutor(workers) as pool:
            for done in [pool.submit(work, number) for number in range(workers)]:
                done.result()


def try_one(
    worker: Worker, mutant: Mutant, plan: Plan, limits: dict[tuple[str, ...], float]
) -> dict[str, Any]:
    """What the tests say of a change. Before the first, they must pass without one."""
    tests = plan.tests[mutant.module]
    if tests not in limits:
        began = time.monotonic()
        well = worker.run(tests, SLOWEST_S * 3) == "passed"
        limits[tests] = min(SLOWEST_S, 20 + 3 * (time.monotonic() - began)) if well else 0.0
        if not well:
            print(f"the tests of {mutant.module} fail without a change: {tests}", flush=True)
    if not limits[tests]:
        return {"outcome": UNTESTED, "line": "", "seconds": 0.0}
    source = (ROOT / mutant.module).read_text(encoding="utf-8")
    changed, began = mutant.mutated(source), time.monotonic()
    worker.put(mutant.module, changed)
    outcome = worker.run(tests, limits[tests])
    worker.put(mutant.module, source)
    said = {"passed": "survived", "failed": "killed"}.get(outcome, outcome)
    line = changed_line(source, changed)
    return {"outcome": said, "line": line, "seconds": round(time.monotonic() - began, 1)}


def report(chosen: list[Mutant], known: dict[Mutant, dict[str, Any]], plan: Plan) -> int:
    """Print counts by module and all that survived; 1 below the goal."""
    counts: dict[str, list[int]] = {}
    survivors, equal = [], []
    tried_ones = [m for m in chosen if m in known and known[m]["outcome"] != UNTESTED]
    for mutant in sorted(tried_ones, key=lambda m: (m.module, m.line)):
        found = known[mutant]
        count = counts.setdefault(mutant.module, [0, 0])
        if found["outcome"] != "survived":
            count[0] += 1
        elif (reason := plan.equal.get((mutant.module, found["line"]))) is not None:
            equal.append(f"{mutant.module}:{mutant.line}: {found['line']}  ({reason})")
            continue
        else:
            survivors.append(f"{mutant.module}:{mutant.line} {mutant.operator}: {found['line']}")
        count[1] += 1
    print("\nequal to the code:", *equal, "\nsurvived:", *survivors, "", sep="\n")
    for module, (killed, tried) in counts.items():
        print(f"{module}: {killed} of {tried} noticed")
    killed, tried = (sum(count[i] for count in counts.values()) for i in (0, 1))
    share = killed / tried if tried else 0.0
    print(f"{killed} of {tried} changes noticed ({share:.1%}), {len(equal)} more are none")
    return int(share < GOAL)


if __name__ == "__main__":
    sys.exit(main())
