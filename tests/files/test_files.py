"""Written files follow the umask and stay in their folder; unreadable ones are not damaged."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sqlalchemy import make_url

from reports.figures.samples import read_sample
from reports.sheets.formats import write_files
from studies.__main__ import main as commands
from studies.ablation import main
from studies.commands.export import export
from studies.optuna_search import main as search
from stvm.errors import StvmError
from stvm.files import (
    Unreadable,
    checked_name,
    drop_unfinished,
    read_json,
    replacing,
    unreadable,
    write_json,
    write_whole,
)
from stvm.files.sqlite import sqlite_url
from stvm.records.record import read_record
from stvm.records.results import Results
from stvm.search.storage import open_storage, results_id
from stvm.training.resume import TrainingCheckpoint
from stvm.trial.run_and_record import run_and_record
from tests.helpers.command_output import NAMES, manifest, put, synthetic
from tests.helpers.tiny_settings import ASSIGNMENTS, tiny

CPU = torch.device("cpu")


@pytest.fixture
def shared() -> Iterator[None]:
    """The umask of people who share their files with a group."""
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.slow
def test_every_kind_of_file_is_as_open_as_the_umask_says(shared: None, tmp_path: Path) -> None:
    results, cache = Results(tmp_path / "results"), tmp_path / "cache"
    record = run_and_record(tiny(keep_model=True), results, cache, CPU)
    TrainingCheckpoint(results.state_path("0" * 12), {}).save({"iteration": 1}, CPU)
    made = manifest(tmp_path / "made", "ablation-x", {})
    write_json(results.root / "studies" / made.name, json.loads(made.read_text()))
    results_id(results)
    open_storage(None, results.root, "search").create_new_study([])
    open_storage(str(tmp_path / "journal.log"), results.root, "s").create_new_study([])
    export(results, results.root / "records.parquet", [])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files}
    assert kinds >= {".json", ".npz", ".safetensors", ".pt", ".npy", ".db", ".log", ".jsonl"}
    assert kinds >= {".parquet", ".lock"} and results.record_path(record.hash) in files
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in files}
    assert {path: mode for path, mode in modes.items() if mode != 0o640} == {}
    folders = {p: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*") if p.is_dir()}
    assert {path: mode for path, mode in folders.items() if mode != 0o750} == {}


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EACCES, "ask its owner"), (errno.ESTALE, "run again when"), (errno.EIO, "run again")],
)
def test_a_file_that_cannot_be_read_now_is_not_called_damaged(
    number: int, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, synthetic(NAMES[1]))

    def refuse(*_: object, **__: object) -> bytes:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    for read in (read_json, read_record):
        with pytest.raises(Unreadable, match=advice) as told:
            read(path)
        assert "move it away" not in str(told.value) and str(path) in str(told.value)
    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(Unreadable, match=advice):
        read_sample(tmp_path / "sample.npz")


def test_what_is_damaged_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"schema": 1')
    with pytest.raises(StvmError, match="move it away") as told:
        read_json(tmp_path / "x.json")
    assert not isinstance(told.value, Unreadable)
    assert isinstance(unreadable(tmp_path, MemoryError(), "x"), Unreadable)


def test_a_file_in_place_of_a_folder_and_the_reverse_are_called_so(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StvmError, match="file is a file; name a folder"):
        write_whole(tmp_path / "file" / "below" / "a.png", b"x")
    with pytest.raises(StvmError, match="folder: it is a folder; name a file"):
        write_whole(tmp_path / "folder", b"x")
    with pytest.raises(StvmError, match="--out .*file is a file; name a folder"):
        write_files({"a.md": "x"}, tmp_path / "file")
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "file", tmp_path / "folder"]


def test_a_link_stays_one_and_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link, file, pipe = tmp_path / "link", tmp_path / "folder/file", tmp_path / "pipe"
    link.symlink_to("folder/file")
    for content in (b"new", b"newer"):
        write_whole(link, content)
        assert link.is_symlink() and file.read_bytes() == content
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)
    write_whole(pipe, b"told")
    assert os.read(end, 10) == b"told" and pipe.is_fifo()
    os.close(end)


def test_what_kills_left_beside_a_file_goes_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a[1].json"
    left, other = tmp_path / ".a[1].json-0123abcd", tmp_path / ".a[1].json-b.json-0123abcd"
    for one in (path, left, other):
        one.write_text("x")
    with replacing(path) as temporary:
        temporary.write_text("y")
    assert left.exists()
    os.utime(left, (0, 0))
    with replacing(path) as temporary:
        temporary.write_text("z")
    assert not left.exists() and other.exists() and path.read_text() == "z"
    left.mkdir()
    (left / "half").write_text("x")
    drop_unfinished(path)
    assert not left.exists() and sorted(tmp_path.iterdir()) == sorted([path, other])


@pytest.mark.slow
def test_a_trial_removes_what_a_kill_left_of_its_files(tmp_path: Path) -> None:
    results, settings = Results(tmp_path / "results"), tiny(iterations=1)
    name = settings.canonical().hash()
    for path in (results.record_path(name), results.sample_path(name), results.state_path(name)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}-0123abcd").write_text("half")
    run_and_record(settings, results, tmp_path / "cache", CPU)
    assert not list(results.root.rglob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder", ["run?1", "x%20y", "z%", "a#b", "a b", "ü", "a:b@c", "a&b=c", "{x}"]
)
def test_a_search_lies_below_its_results_whatever_they_are_called(
    folder: str, tmp_path: Path
) -> None:
    open_storage(None, tmp_path / folder, "city/rome?").create_new_study([], "found")
    files = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()]
    assert files == [f"{folder}/searches/city/rome?.db"]
    again = open_storage(None, tmp_path / folder, "city/rome?")
    assert [study.study_name for study in again.get_all_studies()] == ["found"]


def test_a_url_of_any_sqlalchemy_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "b c?d"
    assert make_url(sqlite_url(path)).database == str(path)


@pytest.mark.parametrize(
    "name", ["../../evil", "/tmp/evil", "a/../../b", ".x", "a//b", "a\nb", "x" * 250, "ä" * 101]
)
def test_a_name_that_leads_elsewhere_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--results", str(tmp_path / "a" / "r"), "--name", name, *ASSIGNMENTS]
    assert search([*arguments, "--trials", "1"]) == 2
    said = capsys.readouterr().err
    assert "--name" in said and said.count("\n") == 1
    assert search([*arguments, "--list"]) == 2
    assert not list(tmp_path.iterdir())
    for taken in ("city/rome, 2", "ä" * 100, "x" * 200):
        assert checked_name(taken, "--name") == taken


def test_a_hash_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    results = Results(tmp_path)
    for name in ("../x", "a/b", "", ".", "/etc/passwd"):
        for path in (results.record_path, results.model_path, results.state_path):
            with pytest.raises(StvmError, match="no trial"):
                path(name)


def test_results_and_cache_are_tried_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stvm.tune.run_study.execute", lambda *_: pytest.fail("started"))
    monkeypatch.setattr("stvm.tune.run_search.run_search", lambda *_: pytest.fail("started"))
    file = tmp_path / "file"
    file.write_text("mine")
    free = str(tmp_path / "free")
    for command in (main, search):
        for results, cache, option in (
            (str(file), free, "--results"),
            (str(file / "below"), free, "--results"),
            (free, str(file), "--cache"),
            ("/proc/stvm", free, "--results"),
            (free, "/proc/stvm", "--cache"),
        ):
            assert command(["--results", results, "--cache", cache, *ASSIGNMENTS]) == 2
            said = capsys.readouterr().err
            assert f"{option} " in said and said.count("\n") == 1
    assert file.read_text() == "mine"
    assert main(["--list", "--results", str(file), *ASSIGNMENTS]) == 2


def test_records_of_a_later_schema_are_refused_by_every_reader_in_the_same_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.study_results import make_study
    from reports.make_figure import main as figure
    from reports.make_report import main as page
    from reports.make_tables import main as tables
    from stvm.records.tensorboard_events import write_missing

    make_study(tmp_path, "ablation", seeds=[0])
    (tmp_path / "samples").mkdir()
    images, maps = np.zeros((1, 4, 6, 3), np.uint8), np.zeros((1, 4, 6), np.uint8)
    arrays = {"images": images, "labels": maps, "predictions": maps}
    for path in (tmp_path / "records").glob("*.json"):
        sample = tmp_path / "samples" / f"{path.stem}.npz"
        np.savez(sample, palette=np.zeros((1, 3), np.uint8), miou=np.float64(0.5), **arrays)
    assert figure(["--results", str(tmp_path)]) == 0
    for path in (tmp_path / "records").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    name = min((tmp_path / "records").iterdir()).stem
    where = ["--results", str(tmp_path)]
    words = "written with schema 2, and this version of stvm reads 1: use the version that wrote it"
    for run in (tables, page, figure):
        assert run(where) == 2 and words in capsys.readouterr().err
    for given in (["export"], ["replay", name], ["retry-failed"]):
        assert commands([*given, *where]) == 2 and words in capsys.readouterr().err
    assert commands(["status", *where]) == 0
    said = capsys.readouterr().out
    assert words in said and "recorded" in said and "damaged" not in said
    with pytest.raises(Unreadable, match=words):
        write_missing(Results(tmp_path), [name])


def test_a_copy_among_the_records_blocks_nothing_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path, synthetic(NAMES[1]))
    copy = path.with_name(f"{NAMES[1]} (copy).json")
    copy.write_text(path.read_text())
    assert commands(["export", "--results", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "1 trials" in told.out and f"{copy}: not named" in told.err
    assert commands(["status", "--results", str(tmp_path)]) == 0
    assert f"{copy}: not named by a trial's hash" in capsys.readouterr().out
