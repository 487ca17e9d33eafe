"""`python -m studies replay`: equal to the bit, or a list of the differences."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import studies.commands.export
import studies.commands.replay
from studies.__main__ import main
from studies.commands.replay import compare
from stvm.records.record import Record
from tests.helpers.command_output import DIVERGING, NAMES, content, put, refused, synthetic
from tests.helpers.tiny_settings import tiny


def replay(root: Path, cache: Path, name: str, *more: str) -> int:
    return main(["replay", name, "--results", str(root), "--cache", str(cache), *more])


@pytest.mark.slow
def test_a_replayed_trial_is_equal_to_the_bit_and_touches_nothing(
    recorded: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, name = content(recorded), tiny().hash()
    threads = torch.get_num_threads()
    assert replay(recorded, cache, name[:6]) == 0
    assert f"trial {name}: equal to the bit" in capsys.readouterr().out
    assert content(recorded) == before and torch.get_num_threads() == threads


@pytest.mark.slow
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


@pytest.mark.slow
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

    def run(*_: Any, **__: Any) -> Record:
        seen.append(torch.get_num_threads())
        return Record.from_dict(record)

    monkeypatch.setattr(studies.commands.replay, "run_and_record", run)
    before = torch.get_num_threads()
    assert replay(tmp_path, cache, name) == 0
    assert seen == [3] and torch.get_num_threads() == before


def test_a_trial_is_named_by_the_beginning_of_its_hash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--results", str(tmp_path))
    assert "there is none at all; run a study first, or name another --results" in refused(
        capsys, "replay", "ab", *place
    )
    for name in ("abcdef000000", "abc000000000"):
        put(tmp_path, synthetic(name))
    assert "give more of it" in refused(capsys, "replay", "abc", *place)
    assert "did you mean 'abcdef000000'" in refused(capsys, "replay", "abcdfe", *place)
    assert "no record of trial ''" in refused(capsys, "replay", "", *place)


@pytest.mark.slow
def test_a_record_of_another_version_is_refused_unless_anyway(
    recorded: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((recorded / "records" / f"{tiny().hash()}.json").read_text())
    put(tmp_path, record | {"hash": NAMES[3]})
    place = ("--results", str(tmp_path), "--cache", str(cache))
    said = refused(capsys, "replay", NAMES[3], *place)
    assert f"names the trial of these settings {tiny().hash()}" in said and "--anyway" in said
    assert record["variant"] and f"{NAMES[3]}.json ({record['variant']}): recorded by" in said
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
