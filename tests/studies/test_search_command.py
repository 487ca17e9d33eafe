"""The search as a command: its report, its table, its refusals, and a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from scipy import stats

from reports.make_tables import main as make_tables
from studies.optuna_search import main
from studies.search_options import build_plan, search_parser
from studies.search_report import (
    find_facts,
    refuse_other_files_of_search,
    report_trials,
    rule,
    search_study,
)
from stvm.errors import StvmError
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.search.plan import Suggestion
from stvm.search.search import Search
from stvm.search.storage import open_storage
from stvm.settings import parse_assignments
from stvm.settings.presets import find_preset
from stvm.study import Trial
from stvm.trial.recorded_name import images_of
from tests.helpers.search_runs import SCORE, Bench, next_of, plan
from tests.helpers.tiny_settings import ASSIGNMENTS, tiny
from tests.trial.test_trial import make_folder

ROOT = Path(__file__).resolve().parents[2]


def test_report_and_search_share_no_seed_and_the_oracles_realisation_is_marked() -> None:
    options = search_parser("").parse_args(["--seeds", "0", "1000"])
    with pytest.raises(StvmError, match="--search-seed 1000 is one of --seeds"):
        build_plan(options, {})
    preset = find_preset("demo")
    for objective, tuned in ((SCORE, {False}), ("miou", {True, False})):
        words = ["--objective", objective.upper(), "--sampler", "Random", "--pruner", "MEDIAN"]
        options = search_parser("").parse_args(words)
        made = build_plan(options, {})
        assert (made.score.name, made.sampler, made.pruner) == (objective, "random", "median")
        trials = report_trials(made, preset, {"alpha": 3.0}, options.seeds, [0, 5])
        assert Counter(t.variant for t in trials) == {"default": 10, "best": 10}
        for row in ("best", "default"):
            assert {t.tuned for t in trials if t.variant == row} == tuned
            looked_at = {t.realisation for t in trials if t.variant == row and t.tuned}
            assert looked_at == ({made.realisation} if objective == "miou" else set())
        assert made.trial(0, {}).tuned == (objective == "miou")
        assert {t.settings.training.eval_split for t in trials} == {"test"}
        assert made.seed not in {t.settings.training.seed for t in trials}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objective", "mio"], "unknown objective 'mio': did you mean 'miou'"),
        (["--sampler", "tp"], "unknown sampler 'tp'"),
        (["--pruner", "medium"], "unknown pruner 'medium': did you mean 'median'"),
        (["--parameters", "lr"], "'lr' has no search range"),
        (["seed=3"], "'seed' is what this study varies"),
        (["--seeds", "1000"], "is one of --seeds"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--results", str(tmp_path / "r"), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_a_search_whose_images_were_exchanged_is_refused_before_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path / "source", "train", 4, True, 0)
    make_folder(tmp_path / "target", "train", 4, False, 1)
    make_folder(tmp_path / "target", "test", 2, True, 2)
    given = ASSIGNMENTS + ["dataset=folder", "classes=7:road,8:sidewalk", "height=32", "width=48"]
    given += [f"{part}_root={tmp_path / part}" for part in ("source", "target")]
    options = ["--results", str(tmp_path / "r"), "--trials", "1", "--seeds", "0"]
    made = build_plan(search_parser("").parse_args(options), parse_assignments(given))
    results = Results(tmp_path / "r")
    search = Search(made, open_storage(None, results.root, made.name), "here", results, 1)
    trial = next_of(search).trial
    run = {"images_sha256": images_of(trial.settings)}
    results.write(Record(trial.hash, "failed", failure={"error": "loss is nan"}, run=run))
    search.finish(Suggestion(0, {}, trial))
    refuse_other_files_of_search(made, search.study, results, tmp_path)
    (tmp_path / "target" / "train" / "images" / "3.png").unlink()
    assert main(options + given) == 2
    captured = capsys.readouterr()
    assert "recorded with other files in" in captured.err and captured.err.count("\n") == 1
    assert "measured on the split of the report, test" in captured.out


def test_list_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--results", str(tmp_path / "r"), "--list", "--objective", "miou"]) == 0
    said = capsys.readouterr().out
    assert "oracle" in said and "no trials yet" in said
    assert not (tmp_path / "r").exists()


def listed(root: Path) -> list[dict[str, Any]]:
    (path,) = (root / "studies").glob("search-*.json")
    entries: list[dict[str, Any]] = json.loads(path.read_text())["trials"]
    return entries


def write_report(bench: Bench, seeds: list[int], realisations: list[int]) -> tuple[Trial, ...]:
    """Write the manifest as the command does; return the trials of the report."""
    facts = find_facts(bench.plan, bench.search.study, "here", seeds)
    report = report_trials(bench.plan, find_preset("demo"), facts["best"], seeds, realisations)
    search_study(bench.plan, bench.search.study, facts, report).write_manifest(bench.results)
    return report


def write_record(bench: Bench, trial: Trial, miou: float) -> None:
    scores = {SCORE: 2 * miou, "entropy": 1 - miou}
    bench.results.write(
        Record(
            trial.hash,
            "done",
            trial.settings.flat(),
            {"miou": miou, "scores": scores, "split": "test"},
        )
    )


@pytest.mark.parametrize("objective", ["miou", SCORE])
def test_a_search_ends_in_a_table(objective: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=4, score=objective)
    for number in range(4):
        suggestion = next_of(bench.search)
        write_record(bench, suggestion.trial, 0.1 * number)
        bench.search.finish(suggestion)
    report = write_report(bench, [0, 1, 2], [0])
    miou = {"default": [0.5, 0.52, 0.55], "best": [0.56, 0.57, 0.63]}
    for trial in report:
        assert trial.seed is not None
        write_record(bench, trial, miou[trial.variant][trial.seed])
    oracle = objective == "miou"
    assert {entry["tuned"] for entry in listed(tmp_path)} == {oracle}
    assert make_tables(["--results", str(tmp_path), "--tables", "search"]) == 0
    with open(tmp_path / "tables/search.csv") as file:
        default, best = csv.DictReader(file)
    delta = np.subtract(miou["best"], miou["default"])
    interval = stats.ttest_1samp(delta, 0).confidence_interval(0.95)
    assert float(best["miou_mean"]) == pytest.approx(100 * np.mean(miou["best"]))
    assert float(best["delta"]) == pytest.approx(100 * delta.mean())
    ends = [float(best["delta_low"]), float(best["delta_high"])]
    assert ends == pytest.approx([100 * interval.low, 100 * interval.high])
    scale = 100 if oracle else 2
    assert float(default["objective"]) == pytest.approx(scale * np.mean(miou["default"]))
    text = (tmp_path / "tables/search.md").read_text()
    assert ("(oracle)" in text and "TUNED ON" in text) == oracle
    with open(tmp_path / "tables/search_importances.csv") as file:
        shares = {row["setting"]: float(row["importance"]) for row in csv.DictReader(file)}
    assert shares == pytest.approx(optuna.importance.get_param_importances(bench.search.study))


def test_when_the_best_changes_its_old_rows_are_gone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=1)
    bench.run(bench.search)
    write_report(bench, [0, 1, 2], [0, 5])
    old = {entry["hash"] for entry in listed(tmp_path) if entry["row"] == "best"}
    bench.trials = 4
    bench.search = bench.open()
    while suggestion := bench.search.next():
        bench.record(suggestion, 10.0 + suggestion.number)
        bench.search.finish(suggestion)
    report = write_report(bench, [0, 1], [0])
    kept = listed(tmp_path)
    assert {e["hash"] for e in kept if e["row"] == "best"} == {
        t.hash for t in report if t.variant == "best"
    }
    assert Counter(e["row"].split()[0] for e in kept) == {"trial": 4, "default": 2, "best": 2}
    assert not old & {entry["hash"] for entry in kept if entry["row"] == "best"}


def test_a_search_on_the_split_of_the_report_says_so() -> None:
    for split, same in (("val", True), ("test", False)):
        made = plan(base=tiny(eval_split=split))
        assert made.same_split == same
        assert ("Search trials too are measured on the split val" in rule(made)) == same


def command(folder: Path, cache: Path, *more: str) -> list[str]:
    script = str(ROOT / "studies" / "optuna_search.py")
    places = ["--results", str(folder / "results"), "--cache", str(cache)]
    changed = {item.split("=")[0] for item in more}
    kept = [item for item in ASSIGNMENTS if item.split("=")[0] not in changed]
    return [sys.executable, script, *places, "--objective", "miou", *more, *kept]


def study_of(folder: Path) -> optuna.Study:
    (database,) = (folder / "results" / "searches").glob("*.db")
    return optuna.load_study(study_name=database.stem, storage=f"sqlite:///{database}")


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_search_goes_on_without_zombies_and_repeats(
    tmp_path: Path, with_source: Path
) -> None:
    options = ["--trials", "4", "--seeds", "0", "--cpus-per-trial", "1", "iterations=40"]
    driver = subprocess.Popen(
        command(tmp_path, with_source, *options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    records = tmp_path / "results" / "records"
    while driver.poll() is None and not list(records.glob("[!.]*.json")):
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = {t.number: t.params for t in study_of(tmp_path).trials if t.params}
    left = [t for t in study_of(tmp_path).trials if t.state == TrialState.RUNNING]
    assert left, "the kill came too late to test anything"
    last = subprocess.run(command(tmp_path, with_source, *options), capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    trials = study_of(tmp_path).trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 4
    assert {n: trials[n].params for n in before} == before
    assert len({json.dumps(t.params) for t in trials}) == 4
    ended: set[str] = set()
    for line in (tmp_path / "results" / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "start":
            assert event["hash"] not in ended, "started again after it was recorded"
        else:
            ended.add(event["hash"])
    assert {t.user_attrs["hash"] for t in trials} <= ended
    assert "best of 4 (an oracle" in last.stdout and "best minus default" in last.stdout
    (manifest,) = (tmp_path / "results" / "studies").glob("search-*.json")
    rows = Counter(t["row"] for t in json.loads(manifest.read_text())["trials"])
    assert rows == {**{f"trial {n}": 1 for n in range(4)}, "best": 1, "default": 1}


@pytest.mark.long
@pytest.mark.slow
def test_where_every_trial_diverges_the_search_says_so(tmp_path: Path, with_source: Path) -> None:
    options = ["--trials", "2", "--seeds", "0", "lr=1e30", "iterations=60"]
    said = subprocess.run(command(tmp_path, with_source, *options), capture_output=True, text=True)
    assert said.returncode == 1, said.stderr
    assert [t.state for t in study_of(tmp_path).trials] == [TrialState.FAIL] * 2
    assert "none of 2 trials has a value, the last one failed: loss is" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.slow
def test_ctrl_c_says_what_is_left_and_leaves_it_to_the_next_run(
    tmp_path: Path, with_source: Path
) -> None:
    options = ["--trials", "3", "--seeds", "0", "iterations=200"]
    driver = subprocess.Popen(
        command(tmp_path, with_source, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background processes that ignore Ctrl-C, and their children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    events = tmp_path / "results" / "events.jsonl"
    while driver.poll() is None and not events.exists():
        time.sleep(0.1)
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=200)
    assert driver.returncode == 130, said
    assert "of 3 trials finished" in said and "left" in said and "Traceback" not in said
    assert TrialState.RUNNING in [t.state for t in study_of(tmp_path).trials]
