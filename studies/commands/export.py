"""All records as one Parquet file, one row a trial.

`setting.NAME` are the settings; results stand under their names in the record (`miou`,
`teacher.miou`, `means.13`, `multi_scale.miou`, `scores.entropy`), `run.*` and `failure.*` under
theirs. `iou` is in the order of `class_names`; `curve` and `watch` are lists of points. `studies`
and `rows` go together: one element for each place in which a study lists the trial.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import pyarrow as pa
import pyarrow.parquet as pq

from studies.arguments import add_places
from studies.cli import print_left_out
from studies.commands.lookup import manifest_paths, open_results
from stvm.errors import StvmError
from stvm.files import other_file, replacing, writing
from stvm.records.manifest import read_manifest
from stvm.records.passed_over import going_on
from stvm.records.results import Results
from stvm.records.schema import list_fields, without_null
from stvm.settings import GROUPS

_TEXT = pa.string()
_BY_PYTHON: dict[Any, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: _TEXT,
}
_PREFIX = {"settings": "setting.", "result": "", "failure": "failure.", "run": "run."}
"""Object of a record to the beginning of its columns' names."""


def known_columns() -> dict[str, pa.DataType]:
    """Columns that every file has, whatever is in the records, with their types."""
    columns = dict.fromkeys(("hash", "status", "variant"), _TEXT)
    columns |= dict.fromkeys(("studies", "rows"), pa.list_(_TEXT))
    columns |= _setting_columns()
    points: dict[str, dict[str, pa.DataType]] = {}
    for field in list_fields():
        part, _, name = field.name.partition(".")
        if part not in _PREFIX or not name:
            continue
        column, _, inner = f"{_PREFIX[part]}{name}".partition("[].")
        if inner:
            points.setdefault(column, {})[inner] = _type_of(field.kind)
        else:
            columns[column] = _type_of(field.kind)
    return columns | {name: pa.list_(pa.struct(point)) for name, point in points.items()}


def _type_of(kind: Any) -> pa.DataType:
    """Type of a column for a type of the schema."""
    if get_origin(kind) is list:
        return pa.list_(_type_of(without_null(get_args(kind)[0])))
    return _BY_PYTHON[kind]


def _setting_columns() -> dict[str, pa.DataType]:
    return {
        f"setting.{name}": _BY_PYTHON.get(field.annotation, _TEXT)
        for group in GROUPS.values()
        for name, field in group.model_fields.items()
    }


def table_of(results: Results, passed_over: list[str] | None = None) -> pa.Table:
    """All records, sorted by hash; a field that this version does not know gets a column too.

    Args:
        results: folder of the records.
        passed_over: list for a line on each file that cannot be used; the others are taken.
            Without a list such a file is an error.

    Raises:
        StvmError: no records, or, without `passed_over`, one that is damaged or holds a value of
            another type.
    """
    rows = _rows(results, passed_over)
    while rows:
        try:
            return _typed(rows, results)
        except _OtherType as error:
            with going_on(passed_over):
                raise
            rows = [row for row in rows if row["hash"] != error.hash]
    none = "no record that can be read" if passed_over else "no records"
    raise StvmError(f"{none} in {results.root / 'records'}: run a study first")


class _OtherType(StvmError):
    """A record holds a value of another type than its column has.

    Args:
        name: hash of the record.
        told: the whole message.
    """

    def __init__(self, name: str, told: str) -> None:
        super().__init__(told)
        self.hash = name


def _typed(rows: Sequence[dict[str, Any]], results: Results) -> pa.Table:
    columns = known_columns()
    found = {name for row in rows for name, value in row.items() if value is not None}
    columns |= dict.fromkeys(sorted(found - columns.keys()))
    arrays = {
        name: _array(name, [row.get(name) for row in rows], kind, rows, results)
        for name, kind in columns.items()
    }
    return pa.table(arrays)


def _rows(results: Results, passed_over: list[str] | None) -> list[dict[str, Any]]:
    places = _places(results, passed_over)
    rows = []
    for name in results.names():
        with going_on(passed_over):
            rows.append(_row(results, name, places.get(name, [])))
    return rows


def _row(results: Results, name: str, listed: list[tuple[str, str]]) -> dict[str, Any]:
    record = results.read(name)
    assert record is not None
    row: dict[str, Any] = {"hash": name, "status": record.status, "variant": record.variant}
    row |= {"studies": [s for s, _ in listed], "rows": [r for _, r in listed]}
    whole = record.as_dict()
    for part, prefix in _PREFIX.items():
        row |= _flat(whole[part] or {}, prefix)
    return row


def _places(results: Results, passed_over: list[str] | None) -> dict[str, list[tuple[str, str]]]:
    """Hash to the study and row of each place that lists it."""
    places: dict[str, list[tuple[str, str]]] = {}
    for path in manifest_paths(results):
        with going_on(passed_over):
            manifest = read_manifest(path, empty=True)
            for trial in manifest.trials:
                places.setdefault(trial.hash, []).append((manifest.name, trial.variant))
    return places


def _flat(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Dotted name to value; lists stay whole."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _array(
    name: str,
    values: Sequence[Any],
    kind: pa.DataType | None,
    rows: Sequence[dict[str, Any]],
    results: Results,
) -> pa.Array:
    """A column; one of unknown type is typed by its values, or is JSON text where they differ."""
    if kind is None:
        return _guessed(values)
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError):
        for row, value in zip(rows, values, strict=True):
            if not _fits(value, kind):
                raise _OtherType(
                    row["hash"],
                    f"{results.record_path(row['hash'])}: '{name}' is {value!r}, "
                    f"not of type {kind}; move it away and run again",
                ) from None
        raise


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except (pa.ArrowException, OverflowError):
        return False
    return True


def _guessed(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except pa.ArrowException:
        return pa.array([None if v is None else json.dumps(v) for v in values], _TEXT)


_SIGNS = {"hash", "status", "variant", "studies", "rows"}
"""Columns by which an export is known."""


def _refuse_other_file(out: Path) -> None:
    """Refuse to replace a file that is no export of records.

    Raises:
        StvmError: it is none.
    """
    if not out.exists():
        return
    try:
        names = set(pq.read_schema(out).names)
    except (pa.ArrowException, OSError):
        names = set()
    if not names >= _SIGNS:
        raise other_file(out, "export of records")


def export(results: Results, out: Path, passed_over: list[str]) -> pa.Table:
    """Write the table whole or not at all; lines about files that cannot be used are noted.

    Raises:
        StvmError: no record that can be used; or a file that is no export stands there, or it
            cannot be written.
    """
    _refuse_other_file(out)
    table = table_of(results, passed_over)
    with writing(out.parent), replacing(out) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return table


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_places(parser, "--results")
    parser.add_argument("--out", type=Path, metavar="FILE", help="RESULTS/records.parquet")


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    results = open_results(options.results)
    out = options.out or options.results / "records.parquet"
    wrong: list[str] = []
    try:
        table = export(results, out, wrong)
        print(f"{out}: {table.num_rows} trials, {table.num_columns} columns")
    finally:
        for line in results.strays():
            print(line, file=sys.stderr)
        print_left_out(wrong)
    return 2 if wrong else 0
