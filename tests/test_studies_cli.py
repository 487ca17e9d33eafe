"""`python -m studies`: what each command says of recorded trials, and that it changes nothing."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock

import studies.export
import studies.replay
from studies.__main__ import COMMANDS, main
from studies.ablation import build_study
from studies.export import known_columns, table_of
from studies.replay import compare
from studies.retry import build_retry
from studies.settings_list import allowed, groups
from stvm.errors import StvmError
from stvm.groups import MethodSettings
from stvm.records import Results
from stvm.settings import Settings
from stvm.trial import run_and_record
from tests.tiny import ASSIGNMENTS, tiny

ROOT = Path(__file__).resolve().parents[1]
DIVERGING = {"lr": 1e30, "iterations": 8}
NAMES = [f"{digit}" * 12 for digit in "0123456789abcdef"]


def synthetic(name: str, miou: float | None = 0.5, **result: Any) -> dict[str, Any]:
    """A record of any trial; without a mIoU it is one that failed."""
    record: dict[str, Any] = {"schema": 1, "hash": name, "status": "done", "settings": {"seed": 1}}
    record |= {"result": {"miou": miou, "iou": [miou, None]} | result, "failure": None}
    if miou is None:
        failure = {"error": "loss is nan\nat iteration 3", "iteration": 3, "seed": 1}
        record |= {"status": "failed", "result": None, "failure": failure}
    return record | {"run": {"threads": 1, "seconds": 2.5}, "variant": f"row of {name[0]}"}


def put(root: Path, record: dict[str, Any]) -> Path:
    path = root / "records" / f"{record['hash']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def manifest(root: Path, study: str, rows: dict[str, str]) -> Path:
    """A study that lists hashes under rows."""
    entries = [
        {"hash": name, "row": row, "seed": 0, "realisation": 0, "tuned": False}
        for row, name in rows.items()
    ]
    path = root / "studies" / f"{study}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": 1, "title": f"title of {study}", "trials": entries}))
    return path


def content(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that must end with 2 says, in one line."""
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return said


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """One trial that is done, one without adaptation, and one that diverged."""
    root = tmp_path_factory.mktemp("recorded")
    off = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    for settings, variant in (
        (tiny(), "STvM realisation 0 seed 0"),
        (tiny(**off), "Source realisation 0"),
        (tiny(**DIVERGING), "STvM realisation 0 seed 0"),
    ):
        run_and_record(settings, Results(root), cache, torch.device("cpu"), variant)
    return root


# -- the command


def test_help_has_a_line_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(any(line.split()[:1] == [name] for line in lines) for name in COMMANDS)
    assert main([]) == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_names_the_option_that_is_wrong(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"usage: python -m studies {name}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main([name, "--no-such-option", "x", "y"])
    said = capsys.readouterr().err
    assert "--no-such-option" in said or "unrecognized" in said
    assert said.count("\n") == 1


def test_an_unknown_command_or_folder_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "did you mean 'status'" in refused(capsys, "statsu")
    for command in (["status"], ["replay", "ab"], ["retry-failed"], ["export"]):
        said = refused(capsys, *command, "--results", str(tmp_path / "none"))
        assert f"no results folder {tmp_path / 'none'}" in said


def test_looking_needs_neither_torch_nor_ray(tmp_path: Path) -> None:
    put(tmp_path, synthetic(NAMES[0]))
    program = (
        "import sys; from studies.__main__ import main\n"
        "for a in (['status'], ['export']): assert main([*a, '--results', sys.argv[1]]) == 0\n"
        "assert main(['settings']) == 0\n"
        "assert not {'torch', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=True)


# -- status


def holder(path: Path) -> "subprocess.Popen[str]":
    """A process that holds a lock until it is killed."""
    path.parent.mkdir(exist_ok=True)
    program = (
        "import sys, time; from filelock import FileLock\n"
        "lock = FileLock(sys.argv[1]); lock.acquire()\n"
        "print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Done, failed, damaged, collapsed, missing; two studies that share two trials."""
    done, failed, damaged, collapsed, missing, unlisted = NAMES[:6]
    for record in (
        synthetic(done),
        synthetic(failed, None),
        synthetic(collapsed, collapsed=True),
        synthetic(unlisted),
    ):
        put(tmp_path, record)
    (tmp_path / "records" / f"{damaged}.json").write_text('{"schema": 1')
    manifest(tmp_path, "one-a", {"A": done, "B": failed, "C": damaged, "C again": damaged})
    manifest(tmp_path, "two-b", {"A": done, "B": failed, "D": collapsed, "E": missing})
    return tmp_path


def status(root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["status", "--results", str(root), "--json"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def test_status_counts_by_study_and_each_trial_once_in_all(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(results)
    data = status(results, capsys)
    keys = ("trials", "recorded", "failed", "running", "damaged", "missing", "collapsed")
    counts = {s["study"]: [s[key] for key in keys] for s in data["studies"]}
    assert counts == {"one-a": [3, 2, 1, 0, 1, 0, 0], "two-b": [4, 3, 1, 0, 0, 1, 1]}
    assert [data["total"][key] for key in keys] == [6, 4, 1, 0, 1, 1, 1]
    assert data["unlisted"]["trials"] == 1
    assert data["trials"][NAMES[1]]["detail"] == "loss is nan at iteration 3"
    assert f"{NAMES[2]}.json" in data["trials"][NAMES[2]]["detail"]
    assert main(["status", "--results", str(results)]) == 0
    text = capsys.readouterr().out
    for words in (
        "title of one-a",
        "B realisation 0 seed 0  loss is nan at iteration 3",
        "cannot read",
        "collapsed",
        "in no study",
    ):
        assert words in text
    assert content(results) == before, "status changed something"


def test_running_is_what_a_living_process_holds(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, stale, done = NAMES[4], NAMES[6], NAMES[0]
    log = Results(results)
    log.note("start", missing, variant="E realisation 0 seed 0")
    log.note("start", stale, variant="killed")
    with open(results / "events.jsonl", "a") as file:
        file.write('{"time": "2026-01-01T00:00:00+00:00", "event": "start", "hash": "9')
    process = holder(results / "locks" / f"{missing}.lock")
    with FileLock(results / "locks" / f"{stale}.lock"):
        pass
    try:
        # A recorded trial's lock is not looked at: its process is about to let go.
        with FileLock(results / "locks" / f"{done}.lock"):
            before = content(results)
            data = status(results, capsys)
            assert content(results) == before
    finally:
        process.kill()
        process.wait()
    running = [name for name, trial in data["trials"].items() if trial["state"] == "running"]
    assert running == [missing] and data["total"]["running"] == 1 and not data["total"]["missing"]
    assert data["trials"][missing]["label"] == "E realisation 0 seed 0"
    assert data["trials"][missing]["detail"].startswith("20")
    after = status(results, capsys)
    assert after["trials"][missing]["state"] == "missing" and after["total"]["running"] == 0


def test_trouble_is_told_while_no_record_follows(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "errors").mkdir()
    for name in (NAMES[0], NAMES[4]):
        trace = "Traceback (most recent call last):\n  File x\nMemoryError: too large\n\n"
        (results / "errors" / f"{name}.txt").write_text(trace)
    data = status(results, capsys)
    assert list(data["troubles"]) == [NAMES[4]]
    assert data["troubles"][NAMES[4]]["detail"].startswith("MemoryError: too large (")


def test_what_cannot_be_read_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "studies" / "bad-c.json").write_text('{"trials": 3}')
    (results / "locks" / f"{NAMES[4]}.lock").mkdir(parents=True)
    put(results, synthetic(NAMES[0]) | {"result": None})
    data = status(results, capsys)
    assert len(data["unreadable"]) == 2
    assert "bad-c.json" in data["unreadable"][0] and NAMES[4] in data["unreadable"][1]
    assert data["trials"][NAMES[0]]["state"] == "damaged"
    assert [study["study"] for study in data["studies"]] == ["one-a", "two-b"]


@pytest.mark.slow
def test_ten_thousand_records_are_counted_in_seconds(tmp_path: Path) -> None:
    curve = [dict.fromkeys(("iteration", "loss", "metric_loss"), 0.123456)] * 40
    watch = [{"iteration": 1, "shares": [0.0526315789] * 19, "entropy": 1.2}] * 41
    for number in range(10_000):
        put(tmp_path, synthetic(f"{number:012x}", curve=curve, watch=watch))
    names = [f"{number:012x}" for number in range(10_000)]
    manifest(tmp_path, "one-a", {str(number): name for number, name in enumerate(names)})
    started = time.process_time()
    assert main(["status", "--results", str(tmp_path)]) == 0
    assert time.process_time() - started < 6


# -- replay


def replay(root: Path, cache: Path, name: str, *more: str) -> int:
    return main(["replay", name, "--results", str(root), "--cache", str(cache), *more])


def test_a_replayed_trial_is_equal_to_the_bit_and_touches_nothing(
    recorded: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, name = content(recorded), tiny().hash()
    threads = torch.get_num_threads()
    assert replay(recorded, cache, name[:6]) == 0
    assert f"trial {name}: equal to the bit" in capsys.readouterr().out
    assert content(recorded) == before and torch.get_num_threads() == threads


def test_a_trial_that_failed_fails_again_in_the_same_iteration(
    recorded: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = tiny(**DIVERGING).hash()
    assert replay(recorded, cache, name) == 0
    assert "fails as recorded" in capsys.readouterr().out
    record = json.loads((recorded / "records" / f"{name}.json").read_text())
    record["failure"]["iteration"] += 1
    put(tmp_path, record)
    assert replay(tmp_path, cache, name) == 1
    row = next(r for r in capsys.readouterr().out.splitlines() if "failure.iteration" in r)
    assert row.split()[-1] == "1"


def test_what_differs_is_shown_with_how_much_and_under_what_circumstances(
    recorded: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = tiny().hash()
    record = json.loads((recorded / "records" / f"{name}.json").read_text())
    record["result"]["miou"] += 0.25
    record["result"]["curve"][1]["loss"] -= 2.0
    record["result"]["curve"][3]["loss"] -= 0.5
    del record["result"]["auroc"]
    record["run"] |= {"torch": "1.0", "seconds": 1e6}
    put(tmp_path, record)
    assert replay(tmp_path, cache, name) == 1
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert rows["result.miou"][-1] == "0.25"
    assert rows["result.curve.loss"][1:4] == ["2", "of", "6"]
    assert rows["result.curve.loss"][-1] == "2"
    assert f"run.torch: recorded 1.0, here {torch.__version__}" in out
    assert "seconds" not in out and "run.device" not in out
    assert "not compared, since the record does not have it: auroc" in out
    assert "differs from its record in 2 fields" in out


def test_comparison_sees_types_signs_lengths_and_nulls() -> None:
    def differing(old: Any, new: Any) -> list[str]:
        return [d.field for d in compare({"result": old}, {"result": new})]

    assert differing({"a": [1.0, None], "b": {}}, {"a": [1.0, None], "b": {}, "c": 3}) == []
    for old, new in ((0.0, -0.0), (1, 1.0), (True, 1), (None, 0.5), ([], [1]), ([1, 2], [1])):
        assert differing({"a": old}, {"a": new}) == ["result.a"], (old, new)
    assert differing({"a": None}, {"a": {"b": 1}}) == ["result.a"]
    assert differing({"a": {"b": 1}}, {"a": None}) == ["result.a.b"]
    assert differing({"a": {"b": 1}}, {}) == ["result.a.b"]
    [only] = compare({"result": {"a": [1.0, 2.0, 3.0]}}, {"result": {"a": [1.5, 2.0, 1.0]}})
    assert (only.count, only.of, only.recorded, only.by) == (2, 3, 3.0, 2.0)


def test_the_recorded_number_of_threads_is_used(
    recorded: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = tiny().hash()
    record = json.loads((recorded / "records" / f"{name}.json").read_text())
    record["run"]["threads"] = 3
    put(tmp_path, record)
    seen = []

    def run(*_: Any, **__: Any) -> dict[str, Any]:
        seen.append(torch.get_num_threads())
        return record

    monkeypatch.setattr(studies.replay, "run_and_record", run)
    before = torch.get_num_threads()
    assert replay(tmp_path, cache, name) == 0
    assert seen == [3] and torch.get_num_threads() == before


def test_a_trial_is_named_by_the_beginning_of_its_hash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--results", str(tmp_path))
    assert "there is none at all" in refused(capsys, "replay", "ab", *place)
    for name in ("abcdef000000", "abc000000000"):
        put(tmp_path, synthetic(name))
    assert "give more of it" in refused(capsys, "replay", "abc", *place)
    assert "did you mean 'abcdef000000'" in refused(capsys, "replay", "abcdfe", *place)
    assert "no record of trial ''" in refused(capsys, "replay", "", *place)


def test_a_record_of_another_version_is_refused_unless_anyway(
    recorded: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((recorded / "records" / f"{tiny().hash()}.json").read_text())
    put(tmp_path, record | {"hash": NAMES[3]})
    place = ("--results", str(tmp_path), "--cache", str(cache))
    said = refused(capsys, "replay", NAMES[3], *place)
    assert f"names the trial of these settings {tiny().hash()}" in said and "--anyway" in said
    assert replay(tmp_path, cache, NAMES[3], "--anyway") == 0
    put(tmp_path, record | {"settings": record["settings"] | {"alhpa": 2}})
    said = refused(capsys, "replay", tiny().hash(), *place)
    assert "unknown setting 'alhpa': did you mean 'alpha'" in said and ".json" in said
    put(tmp_path, record | {"settings": record["settings"] | {"q_m": 7}})
    assert "'q_m' is 7" in refused(capsys, "replay", tiny().hash(), *place)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_trial_of_a_gpu_is_not_silently_run_on_the_cpu(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((recorded / "records" / f"{tiny().hash()}.json").read_text())
    record["run"]["device"] = "NVIDIA H100"
    put(tmp_path, record)
    said = refused(capsys, "replay", record["hash"], "--results", str(tmp_path))
    assert "recorded on NVIDIA H100" in said and "--device cpu" in said


# -- retry-failed


def failed_record(settings: Settings, variant: str) -> dict[str, Any]:
    named = {"hash": settings.hash(), "settings": settings.canonical().flat(), "variant": variant}
    return synthetic(settings.hash(), None) | named


def test_failed_trials_keep_row_and_label_and_others_stay_out(tmp_path: Path) -> None:
    listed, unlisted = tiny(), tiny(seed=3)
    put(tmp_path, failed_record(listed, "other words"))
    put(tmp_path, failed_record(unlisted, "ST_MT realisation 0 seed 3"))
    put(tmp_path, synthetic(NAMES[0]))
    manifest(tmp_path, "one-a", {"A": listed.hash(), "B": NAMES[0], "C": NAMES[1]})
    trials = {t.hash: t for t in build_retry(Results(tmp_path)).trials}
    assert set(trials) == {listed.hash(), unlisted.hash()}
    assert trials[listed.hash()].label == "A realisation 0 seed 0"
    assert trials[unlisted.hash()].label == "ST_MT realisation 0 seed 3"
    only = build_retry(Results(tmp_path), "one").trials
    assert [t.hash for t in only] == [listed.hash()]
    with pytest.raises(StvmError, match="no study 'tow': did you mean 'one-a'"):
        build_retry(Results(tmp_path), "tow")


def test_a_failed_record_of_another_version_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, failed_record(tiny(), "") | {"hash": NAMES[2]})
    said = refused(capsys, "retry-failed", "--results", str(tmp_path))
    assert f"{NAMES[2]}.json: recorded by" in said


def test_without_failed_trials_nothing_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, synthetic(NAMES[0]))
    before = content(tmp_path)
    assert main(["retry-failed", "--results", str(tmp_path)]) == 0
    assert "no failed trials" in capsys.readouterr().out and content(tmp_path) == before


@pytest.mark.slow
def test_failed_trials_are_run_again_and_their_records_set_aside(
    tmp_path: Path, cache: Path
) -> None:
    root = tmp_path / "results"
    small = dict(item.split("=") for item in ASSIGNMENTS)
    study = build_study("demo", small, [0], None)
    study.write_manifest(Results(root))
    mended = next(t for t in study.trials if t.row == "STvM")
    diverging = tiny(**DIVERGING)
    records = [
        failed_record(mended.settings, mended.label),
        failed_record(diverging, "STvM realisation 0 seed 0"),
    ]
    for record in records:
        put(root, record)
    before = content(root / "studies")
    places = ["--results", str(root), "--cache", str(cache)]
    ran = subprocess.run(
        [sys.executable, "-m", "studies", "retry-failed", *places],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1 and "1 of 2 done now" in ran.stdout, ran.stderr
    assert "failed: STvM realisation 0 seed 0: loss is" in ran.stderr
    assert content(root / "studies") == before
    now = Results(root).read(mended.hash)
    assert now and now["status"] == "done" and now["variant"] == mended.label
    for record in records:
        aside = root / "retried" / f"{record['hash']}-1.json"
        assert json.loads(aside.read_text()) == record


# -- export


def nested(tree: Any, path: str) -> Any:
    for name in path.split("."):
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


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
            assert row[name] == (None if isinstance(expected, dict) else expected), name
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
    said = refused(capsys, "export", *place)
    assert f"{NAMES[1]}.json: 'iteration' is 'many', not of type int64" in said
    (tmp_path / "records" / f"{NAMES[1]}.json").write_text("{")
    assert f"{NAMES[1]}.json" in refused(capsys, "export", *place)
    assert not (tmp_path / "records.parquet").exists()


def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, synthetic(NAMES[0]))
    assert main(["export", "--results", str(tmp_path)]) == 0
    before = content(tmp_path)

    def full(table: Any, path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(studies.export.pq, "write_table", full)
    assert "No space left" in refused(capsys, "export", "--results", str(tmp_path))
    assert content(tmp_path) == before


# -- settings


def test_all_settings_are_listed_with_what_the_preset_makes_of_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["settings", "--preset", "demo"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert set(Settings().flat()) <= set(lines)
    assert lines["n_mocm"].split()[1:3] == ["10", "3"]
    assert "2, 5, 10, 15" in lines["n_mocm"] and "1 to 15" in lines["n_mocm"]


def test_one_setting_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "tau_mocm", "--preset", "demo"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["preset", "demo  0.6"] in lines and ["allowed", "number above 0 and at most 4"] in lines
    assert "did you mean 'tau_mocm'" in refused(capsys, "settings", "tau_mcm")
    assert "did you mean 'demo'" in refused(capsys, "settings", "--preset", "dmo")


def test_what_is_said_to_be_allowed_is() -> None:
    fields = MethodSettings.model_fields
    assert allowed(fields["q_m"]) == "number above 0 and below 1"
    assert allowed(fields["st"]) == "true, false"
    for name, field in fields.items():
        for part in allowed(field).replace("number ", "").replace("whole ", "").split(" and "):
            if part.startswith(("at least", "at most")):
                Settings().replace(**{name: part.split()[2]})
            if part.startswith(("above", "below")):
                with pytest.raises(StvmError, match=name):
                    Settings().replace(**{name: part.split()[1]})
    assert {name for group in groups().values() for name in group.model_fields} == set(
        Settings().flat()
    )
