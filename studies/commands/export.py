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
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from studies.commands.lookup import manifest_paths, open_results, read_manifest
from stvm.data.cityscapes import SUBSETS
from stvm.errors import StvmError
from stvm.files import replacing, writing
from stvm.records.label_free_objectives import OBJECTIVES
from stvm.records.results import Results
from stvm.settings import GROUPS

_TEXT, _COUNT, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_REALS = pa.list_(_REAL)
_BY_PYTHON: dict[Any, pa.DataType] = {bool: _FLAG, int: _COUNT, float: _REAL}

_POINTS: dict[str, dict[str, pa.DataType]] = {
    "curve": {"iteration": _COUNT}
    | dict.fromkeys(("loss", "metric_loss", "reliability", "selected"), _REAL)
    | dict.fromkeys(("metric_pixels", "distance", "weight", "pasted", "banked", "rate"), _REAL),
    "watch": {"iteration": _COUNT, "shares": _REALS, "entropy": _REAL, "information": _REAL},
}


def known_columns() -> dict[str, pa.DataType]:
    """Columns that every file has, whatever is in the records, with their types."""
    columns = dict.fromkeys(("hash", "status", "variant"), _TEXT)
    columns |= dict.fromkeys(("studies", "rows"), pa.list_(_TEXT))
    columns |= _setting_columns()
    columns |= {"class_names": pa.list_(_TEXT), "evaluated": _TEXT, "split": _TEXT}
    for network in ("", "student.", "teacher.", "multi_scale."):
        columns |= {f"{network}miou": _REAL, f"{network}iou": _REALS}
        columns |= {f"{network}pixel_accuracy": _REAL}
        columns |= {f"{network}means.{classes}": _REAL for classes in SUBSETS}
    columns |= {"multi_scale.scales": _REALS, "multi_scale.flip": _FLAG, "protocol.name": _TEXT}
    columns |= {f"protocol.{size}_size": pa.list_(_COUNT) for size in ("input", "label")}
    columns |= {"protocol.align_corners": _FLAG}
    columns |= {"iteration": _COUNT, "collapsed": _FLAG, "source_val_miou": _REAL}
    columns |= {"banked": pa.list_(pa.list_(_COUNT)), "idle": pa.list_(_TEXT)}
    measured = ("reliability", "weight", "selected", "metric_pixels", "distance", "pasted", "rate")
    columns |= {f"parts.{name}": _REAL for name in measured}
    columns |= {f"auroc.{score}": _REAL for score in ("confidence", "reliability")}
    columns |= {f"scores.{o.name}": _REAL for o in OBJECTIVES.values() if not o.oracle}
    for labels in ("truth", "prediction"):
        columns |= {f"silhouette.{labels}.class": _REALS}
        columns |= {f"silhouette.{labels}.{m}": _REAL for m in ("class_mean", "overall_mean")}
    columns |= {name: pa.list_(pa.struct(point)) for name, point in _POINTS.items()}
    columns |= {"failure.error": _TEXT, "failure.iteration": _COUNT, "failure.seed": _COUNT}
    columns |= {"run.started": _TEXT, "run.seconds": _REAL, "run.threads": _COUNT}
    columns |= {"run.resumed_from": _COUNT}
    columns |= {"run.source.classes": _COUNT, "run.source.auxiliary": _FLAG}
    columns |= {"run.source.miou": _REAL}
    source = ("sha256", "family", "network", "branches", "backbone", "normalisation", "origin")
    columns |= {f"run.source.{name}": _TEXT for name in (*source, "init_sha256")}
    run = ("device", "stvm", "torch", "python", "source_sha256", "images_sha256", "images_content")
    return columns | {f"run.{name}": _TEXT for name in run}


def _setting_columns() -> dict[str, pa.DataType]:
    return {
        f"setting.{name}": _BY_PYTHON.get(field.annotation, _TEXT)
        for group in GROUPS.values()
        for name, field in group.model_fields.items()
    }


def table_of(results: Results) -> pa.Table:
    """All records, sorted by hash; a field that this version does not know gets a column too.

    Raises:
        StvmError: no records, or one that is damaged or holds a value of another type.
    """
    rows = _rows(results)
    if not rows:
        raise StvmError(f"no records in {results.root / 'records'}: run a study first")
    columns = known_columns()
    found = {name for row in rows for name, value in row.items() if value is not None}
    columns |= dict.fromkeys(sorted(found - columns.keys()))
    arrays = {
        name: _array(name, [row.get(name) for row in rows], kind, rows, results)
        for name, kind in columns.items()
    }
    return pa.table(arrays)


def _rows(results: Results) -> list[dict[str, Any]]:
    places = _places(results)
    rows = []
    for name in results.names():
        record = results.read(name)
        assert record is not None
        listed = places.get(name, [])
        row = {key: record.get(key) for key in ("hash", "status", "variant")}
        row |= {"studies": [s for s, _ in listed], "rows": [r for _, r in listed]}
        for part, prefix in (
            ("settings", "setting."),
            ("result", ""),
            ("failure", "failure."),
            ("run", "run."),
        ):
            content = record.get(part) or {}
            if not isinstance(content, dict):
                path = results.record_path(name)
                raise StvmError(f"{path}: '{part}' is no object; move it away and run again")
            row |= _flat(content, prefix)
        rows.append(row)
    return rows


def _places(results: Results) -> dict[str, list[tuple[str, str]]]:
    """Hash to the study and row of each place that lists it."""
    places: dict[str, list[tuple[str, str]]] = {}
    for manifest in map(read_manifest, manifest_paths(results)):
        for entry in manifest.entries:
            places.setdefault(entry["hash"], []).append((manifest.name, str(entry["row"])))
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
                raise StvmError(
                    f"{results.record_path(row['hash'])}: '{name}' is {value!r}, "
                    f"not of type {kind}; move it away and run again"
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


def export(results: Results, out: Path) -> pa.Table:
    """Write the table whole or not at all.

    Raises:
        StvmError: as `table_of`; or the file cannot be written.
    """
    table = table_of(results)
    with writing(out.parent), replacing(out) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return table


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="FILE", help="RESULTS/records.parquet")


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    results = open_results(options.results)
    out = options.out or options.results / "records.parquet"
    table = export(results, out)
    for line in results.strays():
        print(line, file=sys.stderr)
    print(f"{out}: {table.num_rows} trials, {table.num_columns} columns")
    return 0
