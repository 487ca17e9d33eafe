"""The schema of a record: what a trial writes, what every version wrote, and the page about it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from stvm.data.cityscapes import SUBSETS
from stvm.errors import StvmError
from stvm.files import Unreadable
from stvm.records.record import Record, RecordReader, find_record, read_record
from stvm.records.results import Results
from stvm.records.schema import list_fields, markdown
from stvm.records.selection_scores import SELECTION_SCORES
from stvm.settings import Settings
from stvm.trial.run_and_record import run_and_record
from tests.helpers.command_output import NAMES, put, synthetic
from tests.helpers.record_fields import OBJECTS, SCHEMA, faults, fields_of
from tests.helpers.tiny_settings import tiny

OLD = sorted((Path(__file__).parent / "old").glob("*.json"))
"""Records that tiny trials wrote at three commits: the first one, the first with scores, and the
last one without a schema. Curves are cut to two points."""
PAGE = Path(__file__).resolve().parents[2] / "docs" / "records.md"
RARE = {
    *(f"run.source.{name}" for name in ("branches", "backbone", "origin", "init_sha256", "width")),
    *(f"result.correspondence.{name}" for name in ("source", "target", "by", "unmatched")),
    "result.correspondence.assumed",
    *("run.images_sha256", "run.images_content", "run.state_set_aside"),
    *("run.network_package", "result.parts.kept", "result.curve[].kept"),
    *("result.parts.teacher_moves", "result.curve[].teacher_moves"),
}
"""Fields of trials on a user's files, in other classes or with a network of a library, of one
whose kept state is of another version, and of objectives with labels."""


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """An interrupted trial with multi-scale testing and a source model that knows classes."""
    results, cpu = Results(tmp_path_factory.mktemp("resumed")), torch.device("cpu")
    settings = tiny(multi_scale=True, source_iterations=150, source_lr=0.02)

    def stop(done: int, total: int, *_: Any) -> None:
        if (done, total) == (3, settings.training.iterations):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_and_record(settings, results, cache, cpu, progress=stop, every_s=0)
    return results.record_path(run_and_record(settings, results, cache, cpu, "STvM seed 0").hash)


def test_the_schema_knows_every_field_that_a_trial_writes(recorded: Path, resumed: Path) -> None:
    written = [*sorted((recorded / "records").glob("*.json")), resumed]
    assert len(written) == 4
    seen = set()
    for path in (*written, *OLD):
        assert faults(content(path)) == [], path
        seen |= {name for name, _ in fields_of(content(path))}
    assert SCHEMA.keys() - seen == RARE


def test_a_field_that_the_schema_does_not_know_is_noticed() -> None:
    record = content(next(path for path in OLD if path.stem == "activity-adapted"))
    assert faults(record) == []
    for part in (record, record["result"], record["result"]["curve"][1], record["run"]["source"]):
        part["new"] = 1
    record["result"]["iteration"] = 0.5
    record["run"]["seconds"] = True
    assert sorted(fault.partition(":")[0] for fault in faults(record)) == [
        *("new", "result.curve[].new", "result.iteration", "result.new"),
        *("run.seconds", "run.source.new"),
    ]


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_a_record_of_every_version_is_read_and_stays_as_it_is(path: Path) -> None:
    whole = content(path)
    record = Record.from_dict(whole)
    assert record.as_dict() == whole
    assert list(record.as_dict()) == list(whole) and list(record.as_dict()["run"]) == list(
        whole["run"]
    )
    version, kind = path.stem.split("-")
    assert record.is_done == (kind != "failed") and record.adapts == (kind == "adapted")
    assert (record.miou is None) == (record.error is not None) == (kind == "failed")
    if kind == "adapted":
        assert len(record.curve) == 2 and len(record.watch) == 2 * (version != "first")
        assert bool(record.scores) == (version != "first")
        assert bool(record.silhouette("truth")) == (version != "first")
        assert record.auroc.keys() == {"confidence", "reliability"}
        assert ("parts" in record.result) == (version == "activity")


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_tables_read_a_record_of_every_version(path: Path, tmp_path: Path) -> None:
    whole = content(path)
    written = put(tmp_path, whole)
    record, plain = read_record(written), read_record(written, curves=False)
    assert record and plain and record.miou == plain.miou == (whole["result"] or {}).get("miou")
    assert None not in record.result.values() and plain.curve == plain.watch == []
    assert record.curve == (whole["result"] or {}).get("curve", [])


def test_fields_that_this_version_does_not_know_are_kept() -> None:
    whole = synthetic(NAMES[1], extra={"number": 2}) | {"note": "by hand"}
    whole["run"]["room"] = 7
    assert Record.from_dict(whole).as_dict() == whole


def test_the_page_lists_every_field() -> None:
    assert markdown() in PAGE.read_text(), "python -m stvm.records.schema prints the table"
    assert len(markdown().splitlines()) == len(SCHEMA) + 2


def test_descriptions_stand_alone() -> None:
    banned = {"of", "what", "as", "where", "how", "which", "that", "when"}
    for field in list_fields():
        words = field.about.text.split()
        assert words and words[0].lower() not in banned, field.name


def test_the_schema_names_what_is_measured() -> None:
    means = {name.rpartition(".")[2] for name in SCHEMA if name.startswith("result.means.")}
    assert means == {str(number) for number in SUBSETS}
    scores = {name.rpartition(".")[2] for name in SCHEMA if name.startswith("result.scores.")}
    assert scores == {o.name for o in SELECTION_SCORES.values() if not o.oracle}
    assert {"result.student", "result.curve", "run.source", "failure"} <= OBJECTS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "running"}, "status is 'running', neither 'done' nor 'failed'; move it away"),
        ({"status": None}, "'status' is None, not of type str; move it away"),
        ({"settings": None}, "'settings' is None, not of type dict; move it away"),
        ({"result": None}, "'result' is None, not of type dict; move it away"),
        ({"run": 3}, "'run' is 3, not of type dict; move it away"),
        ({"result": {"miou": "much"}}, "'miou' is 'much', not a number; move it away"),
        ({"result": {"miou": 54.3}}, "'miou' is 54.3, not a fraction between 0 and 1"),
        ({"hash": NAMES[2]}, f"hash is '{NAMES[2]}', so it is no record of trial {NAMES[1]}"),
    ],
)
def test_a_damaged_record_is_one_line_for_every_reader(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = put(tmp_path, synthetic(NAMES[1]))
    path.write_text(json.dumps(synthetic(NAMES[1]) | change))
    for read in (find_record, read_record, lambda path: Results(tmp_path).read(path.stem)):
        with pytest.raises(StvmError) as told:
            read(path)
        assert f"{path}: {words}" in str(told.value) and "\n" not in str(told.value)
        assert str(told.value).count("move it away") == 1
        assert not isinstance(told.value, Unreadable)


def test_a_damaged_record_stays_an_error_and_is_missing_only_where_it_is_noted(
    tmp_path: Path,
) -> None:
    (tmp_path / "records").mkdir()
    name = "0" * 12
    (tmp_path / "records" / f"{name}.json").write_text("{")
    strict = RecordReader(tmp_path)
    for _ in range(2):
        with pytest.raises(StvmError, match=name):
            strict.record(name)
    noted: list[str] = []
    lenient = RecordReader(tmp_path, passed_over=noted)
    assert [lenient.record(name) for _ in range(2)] == [None, None] and len(noted) == 1


def test_a_failure_without_a_reason_is_read(tmp_path: Path) -> None:
    path = put(tmp_path, synthetic(NAMES[1], None) | {"failure": None})
    record = read_record(path)
    assert record and record.error == "no reason recorded" and record.reason == ""
    two = Record("a", "failed", failure={"error": " loss is nan\nat iteration 3 "})
    assert (two.error, two.reason) == ("loss is nan", "loss is nan at iteration 3")


def test_settings_of_a_record_give_its_trial_again(recorded: Path) -> None:
    record = Results(recorded).read(tiny().hash())
    assert record and Settings().replace(**record.settings).hash() == record.hash
