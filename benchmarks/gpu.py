"""`make gpu`: all that a GPU can prove of this project in ten minutes, as results/gpu.{json,md}.

Every part against the CPU; a step over the bare mean-teacher step of both full-size networks, in
every way of computing; peak memory against the estimate; deterministic=true twice; trials of the
embedded benchmark through Ray, one a GPU; and the loader's throughput against the step.

Each section runs in a process of its own: what goes wrong in one (an exception, memory that ran
out, a crash, too long a time) is written down, and the others go on. Files are written after each.
The exit code is 1 where a check failed, and 0 where there is no GPU, which is said in one line.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from gpu_rows import Skipped, one_line
from gpu_table import markdown

ROOT = Path(__file__).resolve().parents[1]

SECTIONS = {
    # name: module, function, most seconds
    "parts": ("gpu_parts", "parts", 150),
    "steps": ("gpu_steps", "steps", 200),
    "memory": ("gpu_steps", "memory", 120),
    "deterministic": ("gpu_repeats", "deterministic", 120),
    "loader": ("gpu_loader", "loader", 60),
    "trial": ("gpu_repeats", "trial", 90),
    "ray": ("gpu_repeats", "through_ray", 120),
    "compile": ("gpu_steps", "compiled", 300),
}
"""In order; what is left of the budget bounds each further."""

PACKAGES = ("torch", "torchvision", "numpy", "ray", "stvm")
LEAST_S = 15.0
"""With less of the budget left no section is begun."""

Section = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--toy", action="store_true", help="toy sizes, for the tests")
    parser.add_argument("--budget", type=float, default=570.0, metavar="SECONDS")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--run", choices=list(SECTIONS), help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        run(options.run, options.device, options.toy, options.into)
        return 0
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU that torch can use: nothing was run, nothing was written")
        return 0
    return course(options)


def course(options: argparse.Namespace) -> int:
    """All sections, one after the other; 1 where one failed."""
    started, names = time.monotonic(), options.only or list(SECTIONS)
    report: dict[str, Any] = {"machine": machine(options), "sections": {}}
    with tempfile.TemporaryDirectory(prefix="stvm-gpu-") as folder:
        for name in names:
            left = options.budget - (time.monotonic() - started)
            print(f"{name} ...", end=" ", flush=True)
            if left < LEAST_S:
                found: Section = {"status": "skipped", "message": "no time was left", "rows": []}
            else:
                limit = min(float(SECTIONS[name][2]), left)
                found = alone(name, options, limit, Path(folder) / f"{name}.json")
            report["sections"][name] = found
            report["machine"]["seconds"] = round(time.monotonic() - started, 1)
            write(options.out, report)
            told = ": ".join(part for part in (found["status"], found["message"]) if part)
            print(f"{told} ({found.get('seconds', 0):.0f} s)", flush=True)
    print(f"written: {options.out / 'gpu.json'} and {options.out / 'gpu.md'}")
    return int(any(found["status"] == "failed" for found in report["sections"].values()))


def alone(name: str, options: argparse.Namespace, limit: float, into: Path) -> Section:
    """A section in a process of its own, for at most `limit` seconds; in this one if it is a toy.

    What the section had written down when it ended or was ended is kept.
    """
    began = time.monotonic()
    if options.toy:
        run(name, options.device, True, into)
        return finished(into, "") | {"seconds": round(time.monotonic() - began, 1)}
    command = [sys.executable, str(Path(__file__).resolve())]
    command += ["--run", name, "--device", options.device, "--into", str(into)]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    fault = ""
    try:
        done = subprocess.run(
            command,
            env=os.environ | {"PYTHONPATH": path},
            cwd=ROOT,
            timeout=limit,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
            fault = f"the process ended with {done.returncode}: {' '.join(last)[:300]}"
    except subprocess.TimeoutExpired:
        fault = f"not done after {limit:.0f} s"
    return finished(into, fault) | {"seconds": round(time.monotonic() - began, 1)}


def finished(into: Path, fault: str) -> Section:
    """What a section wrote down, failed where its process did."""
    found: Section = {"status": "running", "message": "", "rows": []}
    if into.exists():
        found = json.loads(into.read_text(encoding="utf-8"))
    if fault or found["status"] == "running":
        message = "; ".join(part for part in (found["message"], fault) if part)
        found |= {"status": "failed", "message": message or "it ended without a word"}
    return found


def run(name: str, device: str, toy: bool, into: Path) -> None:
    """Run a section in this process, and write down each of its rows at once."""
    found: Section = {"status": "running", "message": "", "rows": []}
    put(into, found)
    try:
        import torch

        module, function, _ = SECTIONS[name]
        rows: Callable[[Any, bool], Iterator[dict[str, Any]]]
        rows = getattr(import_module(module), function)
        for row in rows(torch.device(device), toy):
            found["rows"].append(row)
            put(into, found)
        failed = [row for row in found["rows"] if row.get("passed") is False]
        found["status"] = "failed" if failed else "passed"
        found["message"] = f"{len(failed)} of {len(found['rows'])} failed" if failed else ""
    except Skipped as reason:
        found |= {"status": "skipped", "message": str(reason)}
    except Exception as error:
        found |= {"status": "failed", "message": one_line(error)}
    put(into, found)


def put(path: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def write(folder: Path, report: dict[str, Any]) -> None:
    """gpu.json and gpu.md."""
    folder.mkdir(parents=True, exist_ok=True)
    put(folder / "gpu.json", report)
    (folder / "gpu.md").write_text(markdown(report), encoding="utf-8")


FACTS = """
import json, torch
about = torch.cuda.get_device_properties(0)
print(json.dumps({
    "device": about.name,
    "gpus": torch.cuda.device_count(),
    "memory_gib": round(about.total_memory / 2**30, 1),
    "cuda": torch.version.cuda,
    "cudnn": torch.backends.cudnn.version(),
}))
"""


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """What it runs on."""
    found: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": options.device,
        "toy": options.toy,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    if options.device == "cuda":
        # Asked in a process of its own: this one shall hold nothing on the GPU.
        asked = subprocess.run([sys.executable, "-c", FACTS], capture_output=True, text=True)
        found |= json.loads(asked.stdout) if asked.returncode == 0 else {}
    return found


if __name__ == "__main__":
    sys.exit(main())
