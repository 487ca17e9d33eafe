"""Run one recorded trial again, in this process, and compare it with its record.

Equal to the bit ends with 0; else a table shows which fields differ and by how much, and the
command ends with 1. Nothing recorded is touched.
"""

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress as Bar
from tabulate import tabulate

from studies.arguments import DEVICES, add_places, one_of
from studies.commands.lookup import find_name, open_results, settings_of
from stvm.errors import StvmError
from stvm.files import replacing, writing
from stvm.files.scratch import own_folder
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.training.loop import Progress
from stvm.trial.inputs import check_inputs
from stvm.trial.run_and_record import run_and_record

COMPARED = ("status", "result", "failure")
CIRCUMSTANCES = (
    *("device", "threads", "stvm", "torch", "python"),
    *("source_sha256", "images_sha256", "images_content"),
)
"""Fields of `run` that a result may depend on; time and duration do not count."""

ABSENT = "absent"


@dataclass(frozen=True)
class Difference:
    """A field whose values differ; elements of lists are taken together.

    Attributes:
        field: dotted path without positions.
        count: values that differ.
        of: values in the field.
        recorded: recorded number that differs most.
        replayed: replayed number in its place.
        by: largest absolute difference; None where they are not numbers.
    """

    field: str
    count: int
    of: int
    recorded: Any
    replayed: Any
    by: float | None


def compare(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> list[Difference]:
    """Differences of two records, as dictionaries, in status, result and failure.

    A field that only the replayed one has is none: a later version may record more. Values are
    compared by their shortest exact text, which tells -0.0 from 0.0.
    """
    old = _values({key: recorded.get(key) for key in COMPARED})
    new = _values({key: replayed.get(key) for key in COMPARED})
    return [
        _difference(field, values, new.get(field, {}))
        for field, values in old.items()
        if repr(values) != repr(new.get(field, {}))
    ]


def unrecorded(recorded: Record, replayed: Record) -> list[str]:
    """Fields that only the replayed trial has."""
    return [name for name in replayed.result if name not in recorded.result]


def _values(tree: Any) -> dict[str, dict[tuple[int, ...], Any]]:
    """Field to position to value."""
    fields: dict[str, dict[tuple[int, ...], Any]] = {}

    def walk(value: Any, field: str, position: tuple[int, ...]) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(inner, f"{field}.{name}" if field else name, position)
        elif isinstance(value, list):
            fields.setdefault(field, {})
            for index, inner in enumerate(value):
                walk(inner, field, (*position, index))
        else:
            fields.setdefault(field, {})[position] = value

    walk(tree, "", ())
    return fields


def _difference(
    field: str, old: dict[tuple[int, ...], Any], new: dict[tuple[int, ...], Any]
) -> Difference:
    positions = sorted(old.keys() | new.keys())
    pairs = [(old.get(at, ABSENT), new.get(at, ABSENT)) for at in positions]
    unequal = [pair for pair in pairs if repr(pair[0]) != repr(pair[1])]
    numeric = [pair for pair in unequal if all(_is_number(value) for value in pair)]
    if not numeric:
        return Difference(field, len(unequal), len(pairs), *unequal[0], None)
    worst = max(numeric, key=lambda pair: abs(pair[1] - pair[0]))
    return Difference(field, len(unequal), len(pairs), *worst, abs(worst[1] - worst[0]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def circumstances(recorded: Record, replayed: Record) -> list[tuple[str, Any, Any]]:
    """Differences in `run` that a result may depend on: name, recorded, here."""
    old: Mapping[str, Any] = recorded.run
    new: Mapping[str, Any] = replayed.run
    pairs = [(name, old.get(name, ABSENT), new.get(name, ABSENT)) for name in CIRCUMSTANCES]
    differ = [(name, before, now) for name, before, now in pairs if before != now]
    # Earlier versions did not record it.
    return [found for found in differ if found[:2] != ("images_content", ABSENT)]


def replay(
    record: Record,
    settings: Settings,
    cache: Path,
    device: str,
    keep: Results | None = None,
) -> Record:
    """The record of the same trial, run now with as many threads, and kept nowhere.

    Args:
        record: record of the trial.
        settings: settings of the trial.
        cache: folder of rendered data and source models.
        device: device to run on.
        keep: folder of its networks, if they are to be kept; those that stand are not replaced.

    Raises:
        StvmError: data or checkpoint that cannot be used.
    """
    # Files that hold other than they did are named where records are compared.
    settings = settings.without_contents()
    check_inputs([settings], cache)
    settings = settings.replace(keep_model=keep is not None)
    threads = record.run.get("threads")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with own_folder() as folder, _bar() as progress:
            replayed = run_and_record(
                settings,
                Results(folder),
                cache,
                torch.device(device),
                record.variant,
                progress=progress,
                every_s=math.inf,
            )
            if keep:
                _keep(Results(folder), replayed.hash, keep, record.hash)
    finally:
        torch.set_num_threads(before)
    # As if read from its file: tuples become lists.
    return Record.from_dict(json.loads(json.dumps(replayed.as_dict())))


def _keep(made: Results, as_made: str, results: Results, name: str) -> None:
    """The networks of a replayed trial, beside its record, whose name may be an earlier one."""
    for source, path in (
        (made.model_path(as_made), results.model_path(name)),
        (made.metric_path(as_made), results.metric_path(name)),
    ):
        if source.is_file() and not path.exists():
            with writing(path.parent), replacing(path) as temporary:
                shutil.copyfile(source, temporary)
        elif source.is_file():
            print(f"stands already and is left as it is: {path}", file=sys.stderr, flush=True)


def device_for(record: Record, wanted: str | None) -> str:
    """The device to run on: the one asked for, or the kind that the record names.

    Raises:
        StvmError: a GPU that is not there.
    """
    was = record.run.get("device", "cpu")
    device = wanted or ("cpu" if was == "cpu" else "cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise StvmError(
            f"trial {record.hash} was recorded on {was} and torch finds no GPU here: "
            "--device cpu runs it on the CPU, where sums round otherwise"
        )
    return device


@contextmanager
def _bar() -> Iterator[Progress]:
    """A bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("iterations", total=None)

        def progress(done: int, total: int, watch: Mapping[str, Any] | None = None, /) -> None:
            bar.update(task, completed=done, total=total)

        yield progress


def _report(record: Record, replayed: Record) -> int:
    differences = compare(record.as_dict(), replayed.as_dict())
    if differences:
        rows = [
            (d.field, f"{d.count} of {d.of}", repr(d.recorded), repr(d.replayed), _by(d))
            for d in differences
        ]
        heads = ("field", "differ", "recorded", "replayed", "largest difference")
        print(tabulate(rows, heads, disable_numparse=True))
    for name, before, now in circumstances(record, replayed):
        print(f"run.{name}: recorded {before}, here {now}")
    more = unrecorded(record, replayed)
    if more:
        print(f"not compared, since the record does not have it: {', '.join(more)}")
    if differences:
        print(f"trial {record.hash}: differs from its record in {len(differences)} fields")
        return 1
    said = "fails as recorded" if not record.is_done else "equal to the bit"
    print(f"trial {record.hash}: {said}")
    return 0


def _by(difference: Difference) -> str:
    return "" if difference.by is None else f"{difference.by:.3g}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("hash", metavar="HASH", help="hash of the trial, or its first digits")
    add_places(parser, "--results", "--cache")
    parser.add_argument("--device", **one_of(DEVICES), help="the record's where left out")
    parser.add_argument(
        "--keep-model", action="store_true", help="keep its networks, for predict and export-model"
    )
    parser.add_argument(
        "--anyway", action="store_true", help="although this version gives it another hash"
    )


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code: 0 equal, 1 different."""
    results = open_results(options.results)
    name = find_name(options.hash, results.names())
    record = results.read(name)
    assert record is not None
    try:
        settings = settings_of(record, options.anyway)
    except StvmError as error:
        hint = "" if options.anyway else "; --anyway replays it as this version reads it"
        raise StvmError(f"{error}{hint}") from None
    device = device_for(record, options.device)
    label = f" ({record.variant})" if record.variant else ""
    print(f"replaying trial {name}{label} on {device}", file=sys.stderr, flush=True)
    keep = results if options.keep_model else None
    code = _report(record, replay(record, settings, options.cache, device, keep))
    if keep and keep.model_path(name).is_file():
        print(f"its network lies in {keep.model_path(name)}")
    return code
