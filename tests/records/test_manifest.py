"""Manifests, and the records that they list, as reports read them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from studies.__main__ import main
from stvm.errors import StvmError
from stvm.records.manifest import choose_manifest, read_manifest
from stvm.records.record import RecordReader, read_records
from stvm.records.results import Results
from stvm.records.results_folder import check_results
from stvm.records.trial_label import has_seed, label_parts, variant_of
from tests.helpers.command_output import NAMES, manifest, put, synthetic

BASES = ("aaaaaaaaaaaa", "bbbbbbbbbbbb")


def changed(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def entry(number: int, **changes: Any) -> dict[str, Any]:
    made = {"hash": NAMES[number], "row": "A", "seed": number, "realisation": 4, "tuned": False}
    return made | changes


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"seed": 0}, f"A realisation 4 seed 0 ({NAMES[1]}) is listed twice"),
        ({"tuned": True}, "realisation 4 is both tuned on and fresh"),
        ({"row": "B"}, "unknown row 'B'; rows are A, C"),
        ({"hash": "ABC"}, "hash 'ABC' is not 12 hex digits"),
        ({"seed": True}, "'seed' is True, not of type int"),
        ({"tuned": 0}, "'tuned' is 0, not of type bool"),
    ],
)
def test_trials_that_contradict_each_other_are_one_line(
    second: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = changed(manifest(tmp_path, "one-a", {}), trials=[entry(0), entry(1)])
    assert [trial.seed for trial in read_manifest(path, rows=("A", "C")).trials] == [0, 1]
    changed(path, trials=[entry(0), entry(1, **second)])
    with pytest.raises(StvmError) as told:
        read_manifest(path, rows=("A", "C"))
    assert f"{path}: {words}" in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"updated": "yesterday"}, "'updated' is 'yesterday', not an ISO time"),
        ({"base": "b"}, "'base' is 'b', which is not the base in the file's name"),
        (
            {"rule": None},
            "'rule' is None, not of type str; move it away and run "
            "`python studies/optuna_search.py` again",
        ),
        ({"trials": []}, "lists no trial: run `python studies/optuna_search.py` again"),
        ({"trials": ["A"]}, "an entry of 'trials' is not an object"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_one_line(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = changed(manifest(tmp_path, "search-a", {"A": NAMES[0]}), **changes)
    with pytest.raises(StvmError) as told:
        read_manifest(path)
    assert f"{path}: {words}" in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["one-a (copy)", "one-a copy", "one-a - Copy", "one-a-copy"])
def test_a_copy_of_a_manifest_blocks_nothing_and_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, synthetic(NAMES[0]))
    copied = manifest(tmp_path, "one-a", {"A": NAMES[0]}).with_stem(name)
    copied.write_text(copied.with_stem("one-a").read_text())
    assert choose_manifest(tmp_path, None, study="one").others == ()
    told = f"{copied}: not named STUDY-BASE.json, so it is passed over"
    assert Results(tmp_path).strays() == [told]
    out = tmp_path / "all.parquet"
    assert main(["export", "--results", str(tmp_path), "--out", str(out)]) == 0
    assert told in capsys.readouterr().err.splitlines()
    assert pd.read_parquet(out)["studies"].tolist()[0].tolist() == ["one-a"]
    for words in (["retry-failed"], ["status"]):
        assert main([*words, "--results", str(tmp_path)]) == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("field", ["seed", "realisation"])
def test_a_record_of_another_seed_or_draw_than_the_study_lists_is_refused(
    field: str, tmp_path: Path
) -> None:
    listed = read_manifest(changed(manifest(tmp_path, "one-a", {}), trials=[entry(1)]))
    whole = synthetic(NAMES[1])
    whole["settings"] = {"seed": 1, "realisation": 4}
    path = put(tmp_path, whole)
    ((trial, record),) = read_records(tmp_path, listed).items()
    assert record and (trial.seed, record.miou) == (1, 0.5)
    whole["settings"][field] = 3
    put(tmp_path, whole)
    with pytest.raises(StvmError) as told:
        RecordReader(tmp_path).records(listed)
    assert f"{path}: {field} is 3, the study lists" in str(told.value)


def test_the_study_updated_last_is_taken_whatever_the_time_zone(tmp_path: Path) -> None:
    """A time without a zone is in UTC."""
    early, late = (manifest(tmp_path, f"one-{base}", {"A": NAMES[0]}) for base in BASES)
    for first, second in (
        ("2026-01-01T11:00:00+00:00", "2026-01-01T12:00:00"),
        ("2026-01-01T12:00:00+03:00", "2026-01-01T10:00:00+00:00"),
    ):
        changed(early, updated=first), changed(late, updated=second)
        found = choose_manifest(tmp_path, None, study="one")
        assert found.base == BASES[1] and found.others == (BASES[0],)
    assert read_manifest(changed(late, updated="2026-01-01T12:00:00")).updated == datetime(
        2026, 1, 1, 12, tzinfo=UTC
    )
    named = choose_manifest(tmp_path, None, BASES[0], "one")
    assert named.base == BASES[0] and named.others == (BASES[1],)
    assert choose_manifest(tmp_path, None, f"one-{BASES[0]}", "one") == named
    with pytest.raises(StvmError, match=f"no study 'two-{BASES[0]}' in .*: there are one-"):
        choose_manifest(tmp_path, None, f"two-{BASES[0]}", "one")


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        (("STvM", 0, 3), "STvM realisation 0 seed 3"),
        (("Source", 2, None), "Source realisation 2"),
        (("STvM w MST", None, 3, "taipei"), "STvM w MST taipei seed 3"),
        (("AdaBN", None, None, "rome"), "AdaBN rome"),
        (("AdaBN", None, None, "rio"), "AdaBN rio"),
        (("AdaBN", None, None, "tokyo"), "AdaBN tokyo"),
        (("AdaBN", None, None, "taipei"), "AdaBN taipei"),
        (("alpha=4", None, 11), "alpha=4 seed 11"),
        (("Source", None, None), "Source"),
    ],
)
def test_a_label_is_made_of_its_parts_and_gives_them_back(
    arguments: tuple[Any, ...], label: str
) -> None:
    assert " ".join(label_parts(*arguments)) == label
    assert variant_of(label) == arguments[0]
    assert has_seed(label) == (arguments[2] is not None)


def test_results_are_known_by_any_of_their_parts_and_proposed_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(place: Path) -> str:
        with pytest.raises(StvmError) as refused:
            check_results(place, "begin")
        return str(refused.value).partition("it holds no records: ")[2]

    parts = ("records", "locks", "searches", "errors", "retried", "events.jsonl")
    for part in (*parts, "studies/variance-abc.json", ".hidden"):
        place = tmp_path / f"with {part.partition('/')[0]}"
        (place / part).mkdir(parents=True)
        check_results(place)
    (tmp_path / "with locks/records").mkdir()
    assert told(tmp_path / "with locks/records") == f"did you mean {tmp_path / 'with locks'}?"
    other = tmp_path / "above/other"
    (other / "studies/mine.json").mkdir(parents=True)
    assert told(other) == "begin, or name another --results"
    for near in (other / "below", other / "results", other.parent):
        (near / "records").mkdir(parents=True)
        assert told(other) == f"did you mean {near}?", "above all the one that it lies in"

    def kept(path: Path, real: Callable[[Path], bool] = Path.exists) -> bool:
        if path == other.parent / "records":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "exists", kept)
    assert told(other) == f"did you mean {other / 'results'}?"
