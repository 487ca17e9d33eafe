"""`python -m studies`: the command, its list of settings, and failed trials that run again."""

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import step
from studies.__main__ import COMMANDS, main
from studies.ablation import build_study
from studies.commands import (
    adapt,
    checkpoint,
    export_model,
    memory,
    predict,
    prepare,
    replay,
    retry_failed,
    track,
)
from studies.commands.retry_failed import build_retry
from studies.commands.settings_list import allowed
from studies.study_options import study_parser
from stvm.errors import StvmError, known_name, nearest
from stvm.option_parser import OneLineParser
from stvm.records.results import Results
from stvm.settings import GROUPS, MethodSettings, Settings
from stvm.settings.peers import PEERS, fields_of
from stvm.settings.presets import PRESETS
from tests.helpers.command_output import (
    DIVERGING,
    NAMES,
    content,
    manifest,
    put,
    refused,
    synthetic,
)
from tests.helpers.tiny_settings import ASSIGNMENTS, tiny

ROOT = Path(__file__).resolve().parents[2]
PLACES = {
    "--results DIR": "--results DIR folder of the records",
    "--cache DIR": "--cache DIR folder of source models",
}
"""Options that several commands have, with the beginning of their help."""


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
    said = capsys.readouterr().out
    assert f"usage: python -m studies {name}" in said
    assert all(
        meaning in " ".join(said.split()) for place, meaning in PLACES.items() if place in said
    )
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
        assert f"no results folder {tmp_path / 'none'}: run a study first, or name anoth" in said
    (tmp_path / "file").write_text("x")
    for command in (["status"], ["replay", "ab"], ["retry-failed"], ["export"]):
        said = refused(capsys, *command, "--results", str(tmp_path / "file"))
        assert f"{tmp_path / 'file'} is a file; name a folder" in said


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


def test_only_a_name_that_is_near_is_proposed_and_the_others_are_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "report", lambda options, *_: print(options.preset))
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)
    said = refused(capsys, "settings", "--preset", "xyzzy")
    assert "did you mean" not in said and all(name in said for name in PRESETS)
    assert "did you mean 'demo'" in refused(capsys, "settings", "--preset", "DEOM")
    for name in ("DEMO", "demo"):
        assert main(["settings", "lr", "--preset", name]) == 0
        assert "  preset demo  0.0015" in capsys.readouterr().out
        assert step.main(["--preset", name]) == 0 and capsys.readouterr().out == "demo\n"
        assert study_parser("", [0]).parse_args(["--preset", name]).preset == "demo"
        for command, *words in ((checkpoint, "own.pth"), (memory,), (prepare,)):
            parser = OneLineParser()
            command.add_options(parser)
            assert parser.parse_args([*words, "--preset", name]).preset == "demo"
    for command, *words in ((adapt, "own"), (predict, "own", "a.png"), (replay, "ab")):
        parser = OneLineParser()
        command.add_options(parser)
        for device in ("cpu", "cuda"):
            given = [*words, "--device", device.upper()]
            assert parser.parse_args(given).device == device
    parser = OneLineParser()
    export_model.add_options(parser)
    assert parser.parse_args(["own", "--format", "ONNX"]).format == "onnx"
    said = refused(capsys, "settings", "xyzzy")
    assert said.endswith("unknown setting 'xyzzy': `python -m studies settings` lists them\n")
    assert "did you mean 'iast'" in refused(capsys, "settings", "isat")
    for row, first in (("stvm", "method: "), ("AdaBN", "adabn_share ("), ("oracle", "source: ")):
        assert main(["settings", row]) == 0
        assert capsys.readouterr().out.startswith(first)


def test_of_two_names_that_differ_in_capitals_the_first_is_proposed() -> None:
    assert nearest("CBTS", ["CBST", "cbst"]) == "CBST" == nearest("cbts", ["CBST", "cbst"])
    assert known_name("row", "Cbst", iter(["CBST", "cbst"])) == "CBST"
    with pytest.raises(StvmError, match="^unknown row 'CBTS': did you mean 'CBST'"):
        known_name("row", "CBTS", ["CBST"])


def test_an_objective_or_a_group_shows_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    for name, peer in PEERS.items():
        assert main(["settings", name, "--preset", "demo"]) == 0
        first, *lines = capsys.readouterr().out.splitlines()
        assert first == f"procedure={name}: {peer.about}"
        own = {line.split()[0] for line in lines if line.startswith(f"{name}_")}
        assert own == set(fields_of(name))
        assert all(other in lines[-1] for other in peer.uses)
        brought = [line for line in lines if line.startswith("It sets, where you give no other")]
        assert [line.count("=") for line in brought] == ([len(peer.brings)] if peer.brings else [])
        if name == "tent":
            assert brought[0].endswith(": optimizer=adamw, head_lr_factor=1")
        rows = [line for line in lines if line.startswith("The row ")]
        assert len(rows) == sum(map(bool, peer.rows.values()))
        if name == "maxsquares":
            (row,) = rows
            assert row.split("row ")[1].startswith("MaxSquares+IW of tables is")
            assert row.endswith(" with maxsquares_weight=image")
    for name, shown in (
        *(("IAST", "procedure=iast: "), ("dt-st", "procedure=dtst: "), ("SHOT-im", "procedure=sh")),
        *(("Method", "method: "), ("ALPHA", "alpha (method): ")),
    ):
        assert main(["settings", name]) == 0 and capsys.readouterr().out.startswith(shown)
    for name in ("CBST", "method"):
        assert main(["settings", name, "--preset", "demo"]) == 0
        assert "    preset demo    " in capsys.readouterr().out
    assert main(["settings", "method"]) == 0
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line]
    assert set(MethodSettings.model_fields) <= set(lines) and "batch" not in lines


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
    assert {name for group in GROUPS.values() for name in group.model_fields} == set(
        Settings().flat()
    )


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
    with pytest.raises(StvmError, match="no study 'tow': there are"):
        build_retry(Results(tmp_path), "tow")


def test_each_failed_record_that_cannot_be_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, failed_record(tiny(), "") | {"hash": NAMES[2]})
    (tmp_path / f"records/{NAMES[1]}.json").write_text("{")
    assert main(["retry-failed", "--results", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert told.out == "no other failed trials\n"
    lines = told.err.splitlines()
    assert [line.startswith("left out: ") for line in lines] == [True, True]
    assert f"{NAMES[1]}.json" in lines[0] and f"{NAMES[2]}.json: recorded by" in lines[1]


def test_one_failed_record_of_another_version_keeps_no_other_from_running(tmp_path: Path) -> None:
    put(tmp_path, failed_record(tiny(), "STvM realisation 0 seed 0"))
    put(tmp_path, failed_record(tiny(seed=1), "") | {"hash": NAMES[2]})
    found = build_retry(Results(tmp_path))
    assert [trial.hash for trial in found.trials] == [tiny().hash()]
    (line,) = found.left_out
    assert f"{NAMES[2]}.json: recorded by" in line


def test_files_that_cannot_be_read_keep_no_failed_trial_and_no_tracker_from_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, failed_record(tiny(), "STvM realisation 0 seed 0"))
    put(tmp_path, synthetic(NAMES[0]))
    (tmp_path / f"records/{NAMES[1]}.json").write_text("{")
    manifest(tmp_path, "one-a", {"A": NAMES[0]}).with_name("two-b.json").write_text("{")
    found = build_retry(Results(tmp_path))
    assert [trial.hash for trial in found.trials] == [tiny().hash()]
    assert [NAMES[1] in line or "two-b.json" in line for line in found.left_out] == [True, True]
    results = Results(tmp_path)
    names, lines = track.readable(results, results.names())
    assert names == sorted([tiny().hash(), NAMES[0]])
    assert len(lines) == 1 and f"{NAMES[1]}.json" in lines[0]
    written: list[str] = []
    monkeypatch.setattr(track, "require_tensorboard", lambda: None)
    monkeypatch.setattr(track, "write_missing", lambda _, hashes: written.extend(hashes))
    assert main(["track", "tensorboard", "--results", str(tmp_path)]) == 2 and written == names
    told = capsys.readouterr().err
    assert told.startswith("left out: ") and told.count("\n") == 1 and NAMES[1] in told


def test_a_retry_without_a_file_that_cannot_be_read_ends_as_a_study_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 after all, 1 after failures, 2 where a file was left out, before or during the run."""
    path = put(tmp_path, failed_record(tiny(), "STvM realisation 0 seed 0"))
    words = ["retry-failed", "--results", str(tmp_path), "--cache", str(tmp_path / "cache")]
    failed, done = path.read_text(), json.dumps(synthetic(tiny().hash()))
    other = tmp_path / f"records/{NAMES[1]}.json"

    def ends_with(text: str, *errors: str) -> int:
        path.write_text(failed)
        run = SimpleNamespace(errors=errors)
        monkeypatch.setattr(
            "stvm.tune.run_study.execute", lambda *_, **__: path.write_text(text) and run
        )
        return main(words)

    assert [ends_with(text) for text in (done, failed)] == [0, 1]
    told = capsys.readouterr()
    assert re.findall("(.*) done now", told.out) == ["1 of 1", "0 of 1"]
    assert told.err == "failed: STvM realisation 0 seed 0: loss is nan at iteration 3\n"
    assert ends_with("{", "no room") == 2
    error, left_out = capsys.readouterr().err.splitlines()
    assert error == "error: no room" and left_out.startswith(f"left out: cannot read {path}")
    assert ends_with("{", left_out.removeprefix("left out: ")) == 2
    assert capsys.readouterr().err.splitlines() == [left_out], "told once"
    other.write_text("{")
    assert [ends_with(text) for text in (done, failed)] == [2, 2]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == lines[1] and lines[0].startswith(f"left out: cannot read {other}")
    other.unlink()
    put(tmp_path, failed_record(tiny(seed=5), "STvM realisation 0 seed 5"))
    capsys.readouterr()
    assert ends_with(done) == 1 and "1 of 2 done now" in capsys.readouterr().out
    monkeypatch.setattr(retry_failed, "refuse_other_files_of", refuse_all)
    assert ends_with(done) == 2 and path.read_text() == failed
    assert capsys.readouterr().err == "error: other files\n", "before anything runs"


def refuse_all(*_: object) -> None:
    raise StvmError("other files")


def test_a_folder_without_an_adapted_network_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some").mkdir()
    (tmp_path / "a.png").write_bytes(b"x")
    command = ["predict", "some", "a.png", "--out", "o"]
    assert "folder some holds no adapted network: name a folder" in refused(capsys, *command)
    (tmp_path / "some/settings.json").write_text("{}")
    assert "give the command of `adapt` again" in refused(capsys, *command)


def test_without_failed_trials_nothing_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, synthetic(NAMES[0]))
    before = content(tmp_path)
    assert main(["retry-failed", "--results", str(tmp_path)]) == 0
    assert "no failed trials" in capsys.readouterr().out and content(tmp_path) == before


@pytest.mark.slow
def test_failed_trials_are_run_again_and_their_records_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By Ray on one core: a worker for the source model, then one for both trials."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    root = tmp_path / "results"
    small = dict(item.split("=") for item in ASSIGNMENTS)
    study = build_study("demo", small, [0], None)
    study.write_manifest(Results(root))
    mended = next(t for t in study.trials if t.variant == "STvM")
    diverging = tiny(**DIVERGING)
    records = [
        failed_record(mended.settings, mended.label),
        failed_record(diverging, "STvM realisation 0 seed 0"),
    ]
    for record in records:
        put(root, record)
    before = content(root / "studies")
    places = ["--results", str(root), "--cache", str(tmp_path / "cache")]
    code, told = main(["retry-failed", *places]), capfd.readouterr()
    assert code == 1 and "1 of 2 done now" in told.out, told.err
    assert "1 source model, 1 at a time" in told.out and "2 trials, 1 at a time" in told.out
    assert "failed: STvM realisation 0 seed 0: loss is" in told.err
    assert content(root / "studies") == before
    now = Results(root).read(mended.hash)
    assert now and now.is_done and now.variant == mended.label
    for record in records:
        aside = root / "retried" / f"{record['hash']}-1.json"
        assert json.loads(aside.read_text()) == record


@pytest.mark.parametrize("wrong", [["--nosuch"], ["--seeds", "a"], ["--list", "some"]])
def test_a_studys_wrong_option_is_one_line(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from studies import ablation

    with pytest.raises(SystemExit, match="2"):
        ablation.main(wrong)
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
