"""`python -m studies export`: every value of the records, with stable types."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import studies.commands.export
import studies.commands.replay
from studies.__main__ import main
from studies.commands.export import known_columns, table_of
from stvm.records.results import Results
from stvm.settings import Settings
from tests.helpers.command_output import (
    DIVERGING,
    NAMES,
    content,
    manifest,
    put,
    refused,
    synthetic,
)
from tests.helpers.tiny_settings import tiny


def nested(tree: Any, path: str) -> Any:
    for name in path.split("."):
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def without_empty(curve: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Points without the fields of objectives, which are empty columns for a trial of STvM."""
    if curve is None:
        return None
    return [{name: value for name, value in p.items() if value is not None} for p in curve]


@pytest.mark.slow
def test_every_value_of_the_records_is_in_the_file(recorded: Path, tmp_path: Path) -> None:
    root = tmp_path / "results"
    shutil.copytree(recorded, root)
    rich = synthetic(
        "f" * 12,
        scores={"entropy": 0.5, "agreement": None},
        silhouette={"truth": {"class": [0.1, None], "class_mean": 0.1, "overall_mean": -0.2}},
        watch=[{"iteration": 0, "shares": [0.25, 0.75], "entropy": 0.1, "information": 1.5}],
        collapsed=True,
    )
    put(root, rich)
    manifest(root, "one-a", {"A": tiny().hash(), "B": tiny().hash()})
    manifest(root, "two-b", {"C": tiny().hash(), "D": NAMES[0]})
    out = tmp_path / "new" / "trials.parquet"
    assert main(["export", "--results", str(root), "--out", str(out)]) == 0
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    frame = pd.read_parquet(out).set_index("hash")
    rows = {row["hash"]: row for row in pq.read_table(out).to_pylist()}
    paths = sorted((root / "records").glob("*.json"))
    assert list(frame.index) == [path.stem for path in paths] and len(paths) == 4
    for record in (json.loads(path.read_text()) for path in paths):
        row = rows[record["hash"]]
        for name in known_columns():
            if name in ("studies", "rows"):
                continue
            part, _, rest = name.partition(".")
            path = {"setting": f"settings.{rest}", "run": name, "failure": name}.get(part)
            path = path or (name if name in ("hash", "status", "variant") else f"result.{name}")
            expected = nested(record, path)
            found = without_empty(row[name]) if name == "curve" else row[name]
            assert found == (None if isinstance(expected, dict) else expected), name
    mine = frame.loc[tiny().hash()]
    assert list(zip(mine["studies"], mine["rows"], strict=True)) == [
        ("one-a", "A"),
        ("one-a", "B"),
        ("two-b", "C"),
    ]
    assert list(frame.loc["f" * 12, "studies"]) == []
    assert frame.loc[tiny(**DIVERGING).hash(), "failure.iteration"] >= 1
    assert frame["setting.alpha"].dtype == float and frame["setting.mocm"].dtype == object


def test_types_do_not_depend_on_what_is_recorded(recorded: Path, tmp_path: Path) -> None:
    put(tmp_path, synthetic(NAMES[0], None))
    only_failed = table_of(Results(tmp_path)).schema
    mixed = table_of(Results(recorded)).schema
    for name, kind in known_columns().items():
        assert only_failed.field(name).type == mixed.field(name).type == kind
    assert only_failed.names == list(known_columns())
    assert set(mixed.names) == set(known_columns()), "a field of a record has no declared column"


def test_settings_have_the_type_they_are_declared_with() -> None:
    columns = known_columns()
    assert {f"setting.{name}" for name in Settings().flat()} <= set(columns)
    python = {"bool": bool, "int64": int, "double": float, "string": str}
    for name, value in Settings().flat().items():
        assert type(value) is python[str(columns[f"setting.{name}"])], name


def test_unknown_fields_get_a_column_too(tmp_path: Path) -> None:
    for name, value in zip(NAMES, (None, 2, 2.5), strict=False):
        put(tmp_path, synthetic(name, extra={"number": value, "mixed": value and [value, "a"]}))
    columns = table_of(Results(tmp_path)).to_pydict()
    assert columns["extra.number"] == [None, 2.0, 2.5]
    assert columns["extra.mixed"] == [None, '[2, "a"]', '[2.5, "a"]']


def test_a_damaged_record_an_empty_folder_and_a_wrong_type_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--results", str(tmp_path))
    assert "no records in" in refused(capsys, "export", *place)
    put(tmp_path, synthetic(NAMES[0]))
    put(tmp_path, synthetic(NAMES[1], iteration="many"))
    for reason in ("'iteration' is 'many', not of type int64", "unexpected end of data"):
        capsys.readouterr()
        assert main(["export", *place]) == 2
        said = capsys.readouterr().err
        assert said.startswith("left out: ") and said.count("\n") == 1
        assert f"{NAMES[1]}.json: {reason}" in said
        (tmp_path / "records" / f"{NAMES[1]}.json").write_text("{")
    (tmp_path / "records" / f"{NAMES[0]}.json").write_text("{")
    assert main(["export", *place]) == 2
    assert "no record that can be read" in capsys.readouterr().err


def test_what_can_be_read_is_exported_beside_damaged_records_and_manifests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, synthetic(NAMES[0]))
    put(tmp_path, synthetic(NAMES[1], iteration="many"))
    put(tmp_path, synthetic(NAMES[2]))
    (tmp_path / "records" / f"{NAMES[3]}.json").write_text("{")
    manifest(tmp_path, "one-a", {"A": NAMES[0]})
    (tmp_path / "studies/two-b.json").write_text("[]")
    assert main(["export", "--results", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(".json")[0].split("/")[-1] for line in lines] == [
        "two-b", NAMES[3], NAMES[1]
    ]  # fmt: skip
    rows = pq.read_table(tmp_path / "records.parquet").to_pydict()
    assert rows["hash"] == sorted([NAMES[0], NAMES[2]])
    assert dict(zip(rows["hash"], rows["studies"], strict=True))[NAMES[0]] == ["one-a"]


def test_a_file_that_is_no_export_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, synthetic(NAMES[0]))
    out = tmp_path / "mine.parquet"
    command = ["export", "--results", str(tmp_path), "--out", str(out)]
    pd.DataFrame({"hash": ["a"], "status": ["b"]}).to_parquet(tmp_path / "other.parquet")
    for mine in (b"notes of mine", (tmp_path / "other.parquet").read_bytes()):
        out.write_bytes(mine)
        told = f"{out} exists and is no export of records of this project, so it stays as it is: "
        assert told in refused(capsys, *command)
        assert out.read_bytes() == mine
    out.unlink()
    assert main(command) == main(command) == 0


def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, synthetic(NAMES[0]))
    assert main(["export", "--results", str(tmp_path)]) == 0
    before = content(tmp_path)

    def full(table: Any, path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(studies.commands.export.pq, "write_table", full)
    assert "No space left" in refused(capsys, "export", "--results", str(tmp_path))
    assert content(tmp_path) == before
