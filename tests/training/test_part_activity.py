"""A part that is on and does nothing is marked, and the control row tells rate from information."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.study_results import change, make_study
from benchmarks.study_results import record as made_up
from reports.tables.catalogue import build_sheets
from studies.ablation import build_study, recorded_weight
from studies.ablation import main as ablation
from studies.commands.status import as_text, look
from stvm.errors import StvmError
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.training.part_activity import MEASURED, Tally, idle_parts
from stvm.training.peer_builder import PeerReport
from stvm.training.step_values import step_values
from stvm.trial.run_and_record import run_and_record
from tests.helpers.tiny_settings import ASSIGNMENTS, tiny

MEANS = {"reliability": 0.4, "metric_pixels": 3.0, "pasted": 0.1}


@pytest.mark.parametrize(
    ("changes", "means", "told"),
    [
        ({}, {}, ""),
        ({}, {"pasted": 0.0}, "MOCM pasted nothing"),
        ({"mocm": False}, {"pasted": 0.0}, ""),
        ({}, {"metric_pixels": 0.0}, "the metric network was given no pixel"),
        ({"mgs": False, "mocm": False}, {"metric_pixels": 0.0}, ""),
        ({}, {"reliability": 0.09}, "MGS left a mean weight below 0.1"),
        ({"loss_norm": "weights"}, {"reliability": 0.09}, ""),
        ({"mgs": False}, {"reliability": 0.09}, ""),
        ({"ema_period": 100, "iterations": 99}, {}, "MT never moved the teacher"),
        ({"ema_period": 100, "iterations": 100}, {}, ""),
        ({"aug_strength": 0.0, "blur_probability": 0.0}, {}, "Aug changed no image"),
        ({"aug_strength": 0.0}, {}, ""),
        ({"procedure": "dtst", "iterations": 99}, {"teacher_moves": 0.02}, ""),
        ({"procedure": "dtst"}, {"teacher_moves": 0.0}, "MT never moved the teacher"),
        ({"procedure": "dtst"}, {"teacher_moves": 0.1, "pasted": 0.0}, "no region was pasted"),
        ({"procedure": "cotta", "ema_period": 1001}, {}, "MT never moved the teacher"),
    ],
)
def test_the_rules(changes: dict[str, Any], means: dict[str, float], told: str) -> None:
    found = idle_parts(Settings().replace(**changes), MEANS | means)
    assert len(found) == bool(told) and "".join(found).startswith(told)


NAMES = (*MEASURED, "rate")


def test_sums_of_a_kept_state_go_on_on_the_device_of_the_step() -> None:
    """A GPU refuses to add to a tensor of the CPU in place; "meta" stands for a GPU here."""
    one = torch.ones((), dtype=torch.float64)
    kept = Tally(7, {name: one.clone() for name in NAMES})
    here = torch.ones((), device="meta")
    kept.see(dict.fromkeys(MEASURED, here), here)
    assert {total.device.type for total in kept.sums.values()} == {"meta"}
    assert {total.dtype for total in kept.sums.values()} == {torch.float64}
    again = Tally(7, {name: one.clone() for name in NAMES})
    again.see(dict.fromkeys(MEASURED, torch.tensor(3.0)), torch.tensor(9.0))
    assert again.means()["distance"] == 4 / 8 and again.means()["rate"] == 10 / 8


def test_moves_of_a_teacher_are_summed_in_the_curve_and_averaged_in_the_parts() -> None:
    """A state from a version that did not count them goes on without them."""
    tally, settings = Tally(), Settings().replace(procedure="dtst")
    points = []
    for iteration, moved in enumerate((0.0, 1.0, 0.0, 1.0, 1.0), start=1):
        measured: dict[str, torch.Tensor | float] = {"pasted": 0.1 * iteration}
        report = PeerReport(torch.tensor(2.0), measured | {"teacher_moves": moved})
        values = step_values(report, settings, 0.5)
        tally.see(values.averaged, values.rate)
        points.append(values.point(iteration, tally.sums))
    assert [point["teacher_moves"] for point in points] == [0, 1, 1, 2, 3]
    assert points[3] == {
        **{"iteration": 4, "loss": 2.0, "pasted": pytest.approx(0.4)},
        **{"teacher_moves": 2.0, "rate": 0.5},
    }
    assert tally.means()["teacher_moves"] == 3 / 5
    older = Tally(7, {"pasted": 0.7, "rate": 3.5})
    older.see(values.averaged, values.rate)
    assert older.means() == {"pasted": pytest.approx(1.2 / 8), "rate": 0.5}
    assert "teacher_moves" not in values.point(8, older.sums)


def test_a_trial_that_never_banks_says_so_in_its_record_and_in_status(
    tmp_path: Path, cache: Path
) -> None:
    results, cpu = Results(tmp_path), torch.device("cpu")
    for tau, nothing in ((1e-6, True), (4.0, False)):
        record = run_and_record(tiny(tau_mocm=tau), results, cache, cpu, f"tau {tau}")
        found = record.result
        assert ("MOCM pasted nothing" in found["idle"]) == nothing
        assert (found["parts"]["pasted"] == 0) == (sum(found["banked"][-1]) == 0) == nothing
        assert found["curve"][-1]["banked"] == sum(found["banked"][-1])
        assert len(found["banked"]) == len(found["curve"])
    shown = as_text(look(results))
    assert "a part that is on did nothing" in shown and "MOCM pasted nothing" in shown


def test_a_mean_is_marked_where_a_part_of_a_trial_did_nothing(tmp_path: Path) -> None:
    make_study(tmp_path, "ablation")
    name = made_up("STvM", {}, 0, 1)["hash"]
    change(tmp_path, name, idle=["MOCM pasted nothing"], collapsed=True)
    table = next(s for s in build_sheets(tmp_path) if s.name == "table4")
    cells = {row[0].key: row[6] for row in table.rows}
    assert cells["STvM"].text.endswith(" ‡ §") and cells["STvM"].mark == "best"
    assert not any("§" in cell.text for row, cell in cells.items() if row != "STvM")
    assert any("§" in note and "MOCM pasted nothing" in note for note in table.notes)


def recorded(results: Results, raw: Settings, **result: Any) -> None:
    path = results.record_path(raw.hash())
    path.parent.mkdir(parents=True, exist_ok=True)
    curve = [{"iteration": i, "reliability": value} for i, value in ((1, 0.2), (2, 0.3))]
    path.write_text(
        json.dumps(
            {"schema": 1, "hash": raw.hash(), "status": "done", "settings": raw.flat()}
            | {"result": {"miou": 0.5, "curve": curve} | result, "failure": None, "run": {}}
        )
    )


def test_the_control_weighs_every_pixel_by_the_mean_reliability_of_its_trial(
    tmp_path: Path,
) -> None:
    results = Results(tmp_path)
    raw = tiny(mocm=False)
    with pytest.raises(StvmError, match="without --control first, or give a weight"):
        recorded_weight(results, raw, [])
    recorded(results, raw)
    assert recorded_weight(results, raw, []) == 0.25
    recorded(results, raw, parts={"reliability": 0.123456})
    assert recorded_weight(results, raw, []) == 0.1235
    study = build_study("demo", {}, [0, 3], [1], lambda trial: 0.1 + trial.training.seed / 10)
    rows = {(t.variant, t.seed): t.settings for t in study.trials}
    for seed, weight in ((0, 0.1), (3, 0.4)):
        expected = rows["ST_MT", seed].replace(constant_weight=weight)
        assert rows["Control", seed] == expected
        assert expected.hash() != rows["ST_MT", seed].hash()
    assert study.base == build_study("demo", {}, [0], [1]).base


def test_a_constant_weight_names_the_trials_it_matters_to() -> None:
    changed = {"constant_weight": 0.3}
    for same in ({}, {"mgs": False, "loss_norm": "weights"}):
        assert Settings().replace(**changed | same).hash() == Settings().replace(**same).hash()
    off = {"mgs": False}
    assert Settings().replace(**changed | off).hash() != Settings().replace(**off).hash()


def test_the_command_lists_the_control(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--list", "--results", str(tmp_path), *ASSIGNMENTS]
    assert ablation(["--control", "0.3", *common]) == 0
    assert "Control realisation" in capsys.readouterr().out
    assert ablation(["--control", *common]) == 2
    assert "error: --control takes its weight from STvM_Raw" in capsys.readouterr().err
    assert ablation(common) == 0
    assert "Control" not in capsys.readouterr().out


def test_table_iv_shows_the_control_below_the_others_against_stvm_raw(tmp_path: Path) -> None:
    manifest = make_study(tmp_path, "ablation", seeds=(0, 1))
    for seed, miou in ((0, 0.51), (1, 0.52)):
        made = made_up("ST_MT", {"constant_weight": 0.4}, 0, seed)
        made["result"]["miou"] = miou
        (tmp_path / "records" / f"{made['hash']}.json").write_text(json.dumps(made))
        entry = {"hash": made["hash"], "row": "Control", "seed": seed}
        manifest["trials"].append(entry | {"realisation": 0, "tuned": False})
        change(tmp_path, made_up("STvM_Raw", {}, 0, seed)["hash"], miou=0.53)
    (tmp_path / "studies" / f"ablation-{manifest['base']}.json").write_text(json.dumps(manifest))
    table = next(s for s in build_sheets(tmp_path) if s.name == "table4")
    last = table.rows[-1]
    assert last[0].key == "Control" and last[6].text == "51.5" and last[9].text == "-1.5"
    assert [cell.text for cell in last[1:6]] == ["✓", "✓", "✓", "", ""]
    assert any(note.startswith("Control: ST_MT with every pixel weighed") for note in table.notes)


def test_a_step_of_another_objective_tells_its_loss_its_values_and_the_rate() -> None:
    report = PeerReport(torch.tensor(2.5), {"kept": torch.tensor(0.25)})
    values = step_values(report, tiny().replace(procedure="minent"), 0.01)
    assert values.point(7, {}) == {"iteration": 7, "loss": 2.5, "kept": 0.25, "rate": 0.01}
    assert float(values.loss) == 2.5 and dict(values.averaged) == {"kept": torch.tensor(0.25)}
    assert values.banked == ()
