"""The paper's three scenarios on tiny trees in the original layouts, to Tables I, II and III."""

import re
from pathlib import Path

import pytest
import torch

from reports import make_tables
from studies import scenarios
from studies.__main__ import main
from stvm.data.cityscapes import CITYSCAPES, CROSS_CITY, SYNTHIA
from stvm.errors import StvmError
from stvm.networks import build_network
from stvm.pretrained import save_network
from stvm.records.results import Results
from stvm.settings.presets import (
    CITIES,
    NETWORKS,
    PRESETS,
    SCENARIOS,
    find_preset,
    scenario_preset,
)
from stvm.source_model.ensure import ensure_source
from stvm.trial.recorded_name import images_of
from tests.helpers.tiny_datasets import make_cityscapes, make_crosscity, make_gta5, make_synthia
from tests.helpers.tiny_settings import SMALL_SCENARIO, TINY

QUICK = {
    "gta5-cityscapes": ["multi_scale=false"],
    "synthia-cityscapes": ["protocol=image"],
    "cityscapes-crosscity": ["protocol=image"],
}
"""Settings that save time: several scales at 2048x1024 take minutes on a CPU."""


def test_every_scenario_has_a_preset_for_every_network_and_city() -> None:
    assert len(SCENARIOS) * len(NETWORKS) + (len(CITIES) - 1) * len(NETWORKS) == 12
    for scenario in SCENARIOS:
        for city in CITIES if scenario == "cityscapes-crosscity" else ("",):
            for short, network in NETWORKS.items():
                settings = PRESETS[scenario_preset(scenario, short, city)].settings()
                assert settings.network.network == network
                assert settings.data.city == city
                assert settings.training.lr * settings.training.head_lr_factor == 2.5e-3
                assert (settings.training.crop_height, settings.data.width) == (512, 1024)


def test_roots_do_not_name_a_trial_and_cities_do() -> None:
    here = PRESETS["gta5-cityscapes-deeplabv2"].settings()
    assert here.hash() == here.replace(source_root="elsewhere", target_root="there").hash()
    names = {
        PRESETS[scenario_preset("cityscapes-crosscity", "deeplabv3", city)].settings().hash()
        for city in CITIES
    }
    assert len(names) == 4
    sources = {
        PRESETS[scenario_preset("cityscapes-crosscity", "deeplabv3", city)].settings().source_hash()
        for city in CITIES
    }
    assert len(sources) == 1


def test_objectives_are_rows_with_a_learning_rate_of_their_own() -> None:
    preset = "gta5-cityscapes-deeplabv2"
    usual = scenarios.build_study(preset, {}, [0, 1])
    study = scenarios.build_study(preset, {}, [0, 1], ["MinEnt:2.5e-6", "CBST", "MinEnt:2.5e-6"])
    assert study.trials[: len(usual.trials)] == usual.trials and study.base == usual.base
    added = study.trials[len(usual.trials) :]
    found = [(t.variant, t.seed, t.settings.training.lr) for t in added]
    rows = [("MinEnt, lr=2.5e-06", 2.5e-6), ("CBST", 2.5e-4)]
    assert found == [(row, seed, rate) for row, rate in rows for seed in (0, 1)]
    assert [t.settings.method.procedure for t in added] == ["minent"] * 2 + ["cbst"] * 2
    asked = scenarios.build_study(preset, {}, [0, 1], ["MINENT:2.5e-6", "cbst", "CBST"])
    assert asked.trials == study.trials, "whatever the capitals, each row once"
    (iw,) = scenarios.build_study(preset, {}, [0], ["maxsquares+iw"]).trials[
        len(usual.trials) - 1 :
    ]
    assert iw.variant == "MaxSquares+IW" and iw.settings.flat()["maxsquares_weight"] == "image"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--cities", "Rome", "--network", "DeepLabV3", "--scenario", "GTA5-Cityscapes"],
            "--cities belong to cityscapes-crosscity",
        ),
        (["city=rome"], "'city' is set by --scenario and --cities"),
        (["classes=a,b"], "dataset=gta5_cityscapes has its own classes"),
        (["source_root=nowhere", "--from-scratch"], "error: nowhere: no such folder"),
        (["--rows", "CBTS"], "unknown row 'CBTS': did you mean 'CBST'"),
        (["--rows", "STvM (chosen rate)"], "unknown row 'STvM (chosen rate)'"),
        (["--rows", "CBST", "cbst_share=0.4"], "--rows takes the usual settings of each: leave it"),
        (["--rows", "CBST:high"], "--rows CBST:high: setting 'lr' is 'high'"),
        (["--rows", "MinEnt=1e-4"], "takes ROW or ROW:RATE, as in CBST:5e-5; NAME=VALUE is always"),
        (["--rows", "CBST", "minent=1e-4"], "is always a setting, so write minent:1e-4"),
        (["SHOT=1e-4"], "is always a setting, so write SHOT:1e-4"),
        (["--rows=MinEnt=1e-4"], "is always a setting, so write MinEnt:1e-4"),
        (["--rows", "MinEnt,CBST"], "'MinEnt,CBST' is no row: separate rows by spaces"),
        (["--rows"], "--rows takes ROW or ROW:RATE, as in CBST:5e-5"),
        (["--rows", "CBST:"], "write it as in CBST:5e-5"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scenarios.main([*arguments, "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.slow
def test_a_source_model_of_other_images_is_refused_and_not_used(tmp_path: Path) -> None:
    few, more = make_gta5(tmp_path / "few", train=6), make_gta5(tmp_path / "more", train=7)
    changes = dict(item.split("=", 1) for item in [*SMALL_SCENARIO, "protocol=image"])
    settings = PRESETS["gta5-cityscapes-deeplabv2"].settings(**changes, source_root=str(few))
    cache = tmp_path / "cache"
    made = ensure_source(settings, cache, torch.device("cpu"))
    assert ensure_source(settings, cache, torch.device("cpu")) == made
    other = settings.replace(source_root=str(more))
    assert other.source_hash() == settings.source_hash()
    with pytest.raises(StvmError, match="trained from other source images than these"):
        ensure_source(other, cache, torch.device("cpu"))


def test_a_trial_from_a_checkpoint_is_not_bound_to_source_images(tmp_path: Path) -> None:
    make_cityscapes(tmp_path / "cityscapes", val=2)
    roots = {"source_root": str(tmp_path / "gta5"), "target_root": str(tmp_path / "cityscapes")}
    settings = PRESETS["gta5-cityscapes-deeplabv2"].settings(**roots, source_checkpoint="x.pth")
    before = images_of(settings), images_of(settings.replace(source_checkpoint=""))
    make_gta5(tmp_path / "gta5")
    after = images_of(settings), images_of(settings.replace(source_checkpoint=""))
    assert before[0] == after[0] and before[1] != after[1]


def test_how_a_source_model_would_be_trained_names_no_trial_from_a_checkpoint() -> None:
    preset = PRESETS["gta5-cityscapes-deeplabv2"]
    names = {
        preset.settings(source_checkpoint=file, source_iterations=n).hash()
        for file in ("a.pth", "b.pth", "")
        for n in (1, 2)
    }
    assert len(names) == 4


EVERY_TABLE = {
    1: ("gta5-cityscapes", 20),
    2: ("synthia-cityscapes", 18),
    3: ("cityscapes-crosscity", 2),
}
"""Table to its scenario and to the least number of figures in a measured row."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "tables",
    [{1: ("gta5-cityscapes", 20)}, pytest.param(EVERY_TABLE, marks=pytest.mark.long)],
    ids=["table 1", "all"],
)
def test_every_scenario_runs_to_its_table(
    tables: dict[int, tuple[str, int]],
    tmp_path: Path,
    tune_here: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cityscapes = make_cityscapes(tmp_path / "cityscapes", val=2)
    for city in ("rome", "rio"):
        crosscity = make_crosscity(tmp_path / "crosscity", city, test=2)
    roots = {
        "gta5-cityscapes": (make_gta5(tmp_path / "gta5"), cityscapes),
        "synthia-cityscapes": (make_synthia(tmp_path / "synthia"), cityscapes),
        "cityscapes-crosscity": (cityscapes, crosscity),
    }
    places = ["--results", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]
    for scenario, _ in tables.values():
        source, target = roots[scenario]
        cities = ["--cities", "rome", "rio"] if scenario == "cityscapes-crosscity" else []
        given = [
            f"source_root={source}",
            f"target_root={target}",
            *SMALL_SCENARIO,
            *QUICK[scenario],
        ]
        line = ["--scenario", scenario, *cities, *places, *given]
        assert scenarios.main(line) == 0, capsys.readouterr().err
    results = Results(tmp_path / "results")
    records = [results.read(name) for name in results.names()]
    assert all(record and record.status == "done" for record in records)
    sizes = {tuple(record.result["protocol"]["label_size"]) for record in records if record}
    assert tables != EVERY_TABLE or sizes == {(64, 128), (1024, 2048)}
    assert make_tables.main(["--results", places[1], "--tables", *map(str, tables)]) == 0
    for number, (_, figures) in tables.items():
        table = (tmp_path / "results" / "tables" / f"table{number}.md").read_text()
        row = next(line for line in table.splitlines() if "STvM (w/o MST), measured" in line)
        assert len(re.findall(r"\d+\.\d", row)) >= figures, row


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "classes", "left_over"),
    [
        pytest.param(2, SYNTHIA, "terrain, truck and train", id="16 classes"),
        pytest.param(
            *(3, CROSS_CITY, "wall, fence, pole, terrain, truck and train"),
            id="13 classes",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_checkpoint_of_19_classes_runs_to_the_tables_of_fewer(
    table: int,
    classes: tuple[str, ...],
    left_over: str,
    tmp_path: Path,
    tune_here: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cityscapes = make_cityscapes(tmp_path / "cityscapes", val=6)
    target = cityscapes if table == 2 else make_crosscity(tmp_path / "crosscity", "rome", test=6)
    scenario = "synthia-cityscapes" if table == 2 else "cityscapes-crosscity"
    weights = tmp_path / "city.safetensors"
    torch.manual_seed(0)
    channels = find_preset("demo").settings(**TINY).network.channels
    save_network(build_network("small_deeplab", channels, 19), weights, CITYSCAPES)
    settings = [*SMALL_SCENARIO, f"source_root={cityscapes}", f"target_root={target}"]
    settings += ["protocol=image", "multi_scale=false", f"source_checkpoint={weights}"]
    places = ["--results", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]
    cities = ["--cities", "rome"] if table == 3 else []
    assert scenarios.main(["--scenario", scenario, *cities, *places, *settings]) == 0
    told = f"classes: 19 of the source model, {len(classes)} of the target, matched by name"
    assert told in capsys.readouterr().out
    results = Results(tmp_path / "results")
    for name in results.names():
        record = results.read(name)
        assert record and record.result["class_names"] == list(classes)
        assert record.run["source"]["classes"] == 19
        matched = [c for c in record.result["correspondence"]["target"] if c]
        assert matched == list(classes)
        assert set(record.result.get("means", {})) == ({"13"} if table == 2 else set())
        if record.variant == "Source" and table == 3:
            assert record.result["source_val_miou"] is not None
    assert make_tables.main([*places[:2], "--tables", str(table)]) == 0
    names = ["table2"] if table == 2 else ["table3", "table3_by_class"]
    for name in names:
        text = (tmp_path / "results" / "tables" / f"{name}.md").read_text()
        assert f"no class of the target: {left_over} (a pixel predicted as" in text
    rows = [line for line in text.splitlines() if "small_deeplab" in line]
    row = next(line for line in rows if line.startswith("| STvM (w/o MST)"))
    figures = len(classes) + (2 if table == 2 else 1)
    assert len(re.findall(r"\d+\.\d", row)) >= figures, row
    preset = scenario_preset(scenario, "deeplabv2", "rome" if table == 3 else "")
    given = [item for item in settings if not item.startswith("source_checkpoint")]
    words = ["checkpoint", str(weights), "--preset", preset, "--score", *places, *given]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert told in out and f"mIoU over {len(classes)} classes" in out
