"""A study as a command: its list, its refusals, its run, and the records that survive a kill."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from studies.ablation import build_study, main
from studies.recorded_trials import look
from stvm.errors import StvmError
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.study import Study
from stvm.tune.run_study import RunResult
from stvm.tune.tasks import Interrupted
from tests.helpers.command_output import put, synthetic
from tests.helpers.tiny_settings import ASSIGNMENTS, TINY

ROOT = Path(__file__).resolve().parents[2]
SMALL = dict(item.split("=") for item in ASSIGNMENTS)


def test_table_four_is_four_rows_a_realisation_and_five_a_seed() -> None:
    study = build_study("demo", {}, [0, 1, 2], [0, 100])
    assert len(study.trials) == len({t.hash for t in study.trials}) == 2 * (4 + 3 * 5)
    assert {t.tuned for t in study.trials if t.realisation == 100} == {True}
    assert {t.tuned for t in study.trials if t.realisation == 0} == {False}
    toggles = {t.variant: t.settings.method for t in study.trials}
    assert not toggles["Source"].st and toggles["ST"].st and not toggles["ST"].aug
    assert toggles["ST_MT"].mt and not toggles["ST_MT"].mgs
    assert toggles["STvM_Raw"].mgs and not toggles["STvM_Raw"].mocm
    assert toggles["STvM"].mocm and toggles["Oracle"].procedure == "oracle"
    shares = [toggles[row].adabn_share for row in ("AdaBN", "partial AdaBN")]
    assert shares == [1.0, 0.5] and toggles["partial AdaBN"].procedure == "adabn"


def test_no_oracle_is_listed_where_the_targets_training_images_have_no_labels(
    tmp_path: Path,
) -> None:
    changes = {"dataset": "folder", "classes": "road,sidewalk"}
    changes |= {"source_root": str(tmp_path), "target_root": str(tmp_path)}
    rows = [t.variant for t in build_study("demo", changes, [0], None).trials]
    assert "Oracle" not in rows and "AdaBN" in rows
    (tmp_path / "train" / "labels").mkdir(parents=True)
    assert "Oracle" in [t.variant for t in build_study("demo", changes, [0], None).trials]


def test_seeds_and_realisations_share_a_study_and_settings_do_not() -> None:
    base = build_study("demo", {}, [0], None).base
    assert build_study("demo", {}, [1, 2], [3]).base == base
    assert build_study("demo", {"alpha": "4"}, [0], None).base != base


def test_a_list_goes_on_after_a_record_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = build_study("demo", {}, [0], None).trials
    (tmp_path / "records").mkdir()
    for trial, text in ((first, "{"), (second, json.dumps(synthetic(second.hash)))):
        (tmp_path / f"records/{trial.hash}.json").write_text(text)
    for words, shown in ((["--list"], True), (["--list", "missing"], False)):
        assert main(["--results", str(tmp_path), *words]) == 2
        told = capsys.readouterr()
        assert (f"{first.hash}  {first.label:32s}  cannot be read" in told.out) == shown
        assert "1 recorded" in told.out and "7 missing, 1 cannot be read" in told.out
        assert told.err.count("\n") == 1 and f"{first.hash}.json" in told.err


def test_a_record_that_cannot_be_read_costs_its_own_control_trial_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for trial in build_study("demo", {}, [0, 1], None).trials:
        if trial.variant == "STvM_Raw":
            path = put(
                tmp_path, synthetic(trial.hash, curve=[{"iteration": 1, "reliability": 0.2}])
            )
            if trial.seed == 0:
                path.write_text("{")
    words = ["--results", str(tmp_path), "--seeds", "0", "1", "--control", "--list"]
    for more, lines in (([], 2), (["--without", "STvM_Raw"], 1)):
        assert main([*words, *more]) == 2
        told = capsys.readouterr()
        rows = [f"Control realisation 0 seed {seed}" in told.out for seed in (0, 1)]
        assert rows == [False, True] and told.err.count("\n") == lines
        assert told.err.startswith("left out: Control realisation 0 seed 0: the record of its ")
    put(tmp_path, synthetic(path.stem))
    assert main(words) == 2
    assert f"Raw realisation 0 seed 1, whose record {path} holds no r" in capsys.readouterr().err


def test_a_run_goes_on_without_the_trial_whose_record_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = build_study("demo", {}, [0], None)
    first, *others = study.trials
    for trial in others:
        put(tmp_path, synthetic(trial.hash, None if trial == others[-1] else 0.5))
    damaged = tmp_path / f"records/{first.hash}.json"
    damaged.write_text("{")
    assert main(["--results", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert "8 of 9 trials recorded, 1 cannot be read\n" in told.out, "before the run"
    assert "8 of 9 trials recorded, 1 of them failed, 1 cannot be read in" in told.out
    left_out, failed = told.err.splitlines()
    assert left_out.startswith(f"left out: cannot read {damaged}: ")
    assert "move it away and run again" in left_out and failed.startswith("failed: ")
    assert damaged.read_text() == "{"
    (tmp_path / f"records/{others[-1].hash}.json").unlink()
    wrong: list[str] = []
    assert study.missing(Results(tmp_path), True, wrong) == [others[-1]] and len(wrong) == 1


def test_a_record_that_is_damaged_during_a_run_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial's own error is the same line, and is no other trouble."""
    for trial in build_study("demo", {}, [0], None).trials:
        put(tmp_path, synthetic(trial.hash))

    def execute(study: Study, results: Results, *_: object) -> RunResult:
        results.record_path(study.trials[0].hash).write_text("{")
        return RunResult((*look(study, results).unread, "no room"))

    monkeypatch.setattr("stvm.tune.run_study.execute", execute)
    assert main(["--results", str(tmp_path)]) == 2
    error, left_out = capsys.readouterr().err.splitlines()
    assert error == "error: no room" and left_out.startswith("left out: cannot read ")

    def stopped(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr("stvm.tune.run_study.execute", stopped)
    assert main(["--results", str(tmp_path)]) == 130
    told = "interrupted: 8 of 9 trials recorded, 1 cannot be read, 0 left; the same command goes on"
    assert capsys.readouterr().err.splitlines()[-1] == told


def test_a_damaged_list_of_a_study_is_one_line(tmp_path: Path) -> None:
    study, results = build_study("demo", {}, [0], None), Results(tmp_path)
    study.write_manifest(results)
    (path,) = (tmp_path / "studies").iterdir()
    whole = json.loads(path.read_text())
    wrong = ('{"schema": 1}', '{"schema": 1, "trials": [{"row": "ST"}]}')
    odd = [whole["trials"][0] | {"row": ["ST"]}, whole["trials"][0] | {"hash": None}]
    for text in (*wrong, *(json.dumps({"schema": 1, "trials": [entry]}) for entry in odd)):
        path.write_text(text)
        with pytest.raises(StvmError, match=f"^{path}: .*; move it away and run again$"):
            study.write_manifest(results)
        assert path.read_text() == text


def test_rows_can_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network without batch norm has no AdaBN; the other rows are the same trials."""
    whole = build_study("demo", {}, [0], None)
    fewer = build_study("demo", {}, [0], None, None, ["AdaBN", "partial AdaBN"])
    assert [t for t in whole.trials if "AdaBN" not in t.variant] == list(fewer.trials)
    assert len(whole.trials) - len(fewer.trials) == 2 and fewer.base == whole.base
    left_out = ["--without", "adabn", "--without", "ST", "alpha=4", "--list"]
    assert main(["--results", str(tmp_path), *left_out]) == 0
    shown = capsys.readouterr().out
    assert "partial AdaBN" in shown and "  AdaBN" not in shown and "7 trials" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alhpa=3"], "did you mean 'alpha'"),
        (["q_m=7"], "'q_m' is '7'"),
        (["--preset", "dmo"], "did you mean 'demo'"),
        (["mgs=false"], "'mgs' is what this study varies"),
        (["seed=3"], "use --seeds"),
        (["adabn_share=0.3"], "'adabn_share' is what this study varies"),
        (["dataset=folder"], "needs source_root=DIR"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--results", str(tmp_path), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_list_runs_nothing_and_settings_may_follow_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--results", str(tmp_path / "r"), "--list", "--seeds", "0", "1", *ASSIGNMENTS]
    assert main(arguments) == 0
    assert "14 cells, 14 trials: 0 recorded" in capsys.readouterr().out
    assert not (tmp_path / "r").exists()


def test_list_missing_names_exactly_the_trials_without_a_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Results(tmp_path)
    hashes = [t.hash for t in build_study("demo", SMALL, [0], None).trials]
    results.write(Record(hashes[0], "done", result={"miou": 0.5}))
    results.write(Record(hashes[5], "failed", failure={"error": "loss is nan"}))
    arguments = ["--results", str(tmp_path), *ASSIGNMENTS, "--seeds", "0"]

    def listed(*more: str) -> list[str]:
        assert main([*arguments, *more]) == 0
        out = capsys.readouterr().out
        assert f"2 recorded, 1 of them failed in {tmp_path}, 7 missing" in out
        return [line.split()[0] for line in out.splitlines() if line.startswith("  ")]

    missing = [h for h in hashes if h not in (hashes[0], hashes[5])]
    assert listed("--list", "missing") == listed("--list", "missing", "alpha=2") == missing
    assert listed("--list") == listed("--list", "all") == hashes
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--list", "mising"])


def test_manifests_grow_and_never_shrink(tmp_path: Path) -> None:
    results = Results(tmp_path)
    for seeds in ([0], [1], [0]):
        study = build_study("demo", SMALL, seeds, None)
        study.write_manifest(results)
    manifest = json.loads((tmp_path / "studies" / f"ablation-{study.base}.json").read_text())
    assert Counter(t["seed"] for t in manifest["trials"]) == {None: 4, 0: 5, 1: 5}


def command(results: Path, cache: Path, *more: str, study: str = "ablation") -> list[str]:
    script = str(ROOT / "studies" / f"{study}.py")
    places = ["--results", str(results), "--cache", str(cache)]
    changed = {item.split("=")[0] for item in more}
    kept = [item for item in ASSIGNMENTS if item.split("=")[0] not in changed]
    return [sys.executable, script, *places, *kept, *more]


def events(results: Path) -> list[dict[str, str]]:
    path = results / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


@pytest.mark.long
@pytest.mark.slow
def test_killed_at_random_moments_each_trial_is_recorded_once(
    tmp_path: Path, with_source: Path
) -> None:
    results, cache = tmp_path / "results", with_source
    rng = random.Random(0)
    slow = ["iterations=40", "lr=0.001"]
    for _ in range(2):
        driver = subprocess.Popen(
            command(results, cache, *slow), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        known = len(events(results))
        while driver.poll() is None and len(events(results)) == known:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 3))
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    last = subprocess.run(command(results, cache, *slow), capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    study = build_study("demo", SMALL | dict(s.split("=") for s in slow), [0], None)
    names = {trial.hash for trial in study.trials}
    assert {p.stem for p in (results / "records").glob("*.json")} == names
    ended: set[str] = set()
    for event in events(results):
        if event["event"] == "start":
            assert event["hash"] not in ended, "started again after it had finished"
        else:
            ended.add(event["hash"])
    again = subprocess.run(command(results, cache, *slow), capture_output=True, text=True)
    assert "9 of 9 trials recorded" in again.stdout and len(again.stdout.splitlines()) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(signal.SIGINT, id="int", marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, id="term", marks=pytest.mark.long),
    ],
)
def test_stopped_is_130_with_k_of_n_and_a_diverging_trial_does_not_stop_the_others(
    asked: signal.Signals, tmp_path: Path, with_source: Path
) -> None:
    results, cache = tmp_path / "results", with_source
    diverging = ["lr=1e30", "iterations=30"]
    driver = subprocess.Popen(
        command(results, cache, *diverging),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts background processes that ignore Ctrl-C, and their children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while driver.poll() is None and not list((results / "records").glob("*.json")):
        time.sleep(0.1)
    driver.send_signal(asked)
    _, said = driver.communicate(timeout=200)
    assert driver.returncode == 130, said
    assert "of 9 trials recorded" in said and "left" in said
    if asked == signal.SIGTERM:
        return
    rest = subprocess.run(command(results, cache, *diverging), capture_output=True, text=True)
    assert rest.returncode == 1
    assert "loss is nan at iteration" in rest.stderr or "loss is inf at iteration" in rest.stderr
    assert len(list((results / "records").glob("*.json"))) == 9
    states = Counter(json.loads(p.read_text())["status"] for p in results.glob("records/*.json"))
    assert states == {"done": 4, "failed": 5}


def test_the_tiny_settings_are_what_the_commands_use() -> None:
    assert {name: str(value) for name, value in TINY.items()} == SMALL


def test_a_cluster_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--results", str(tmp_path), "--address", "127.0.0.1:1", *ASSIGNMENTS]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "Ray cannot be reached at 127.0.0.1:1" in said and said.count("\n") == 1
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_checkpoint_that_is_none_is_met_before_ray_starts(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source.pt").write_bytes(content)
    checkpoint = f"source_checkpoint={tmp_path / 'source.pt'}"
    assert main(["--results", str(tmp_path / "r"), checkpoint, *ASSIGNMENTS]) == 2
    said = capsys.readouterr().err
    assert "source.pt" in said and said.count("\n") == 1
