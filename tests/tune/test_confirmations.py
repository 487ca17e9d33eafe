"""What a study of full-size networks refuses before it starts, and what says yes to it."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from studies import ablation, optuna_search, scenarios
from studies.__main__ import main
from studies.study_options import options_of, study_parser
from stvm.errors import StvmError
from stvm.networks import build_network
from stvm.pretrained import save_network
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.settings.presets import PRESETS
from stvm.source_model.loading import open_source_model
from stvm.source_model.location import source_path
from stvm.study import Trial
from stvm.tune import run_search, run_study, tasks
from stvm.tune.confirmations import accept_cpu, refuse_random_source
from stvm.tune.slots import Slots
from tests.helpers.tiny_settings import tiny

V2, V3 = "gta5-cityscapes-deeplabv2", "gta5-cityscapes-deeplabv3"


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: "), error
    return error


def test_a_full_size_source_model_from_random_weights_has_to_be_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before files are looked for and before Ray."""
    places = ["--results", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]
    assert scenarios.main(places) == 2
    said = one_line(capsys)
    assert "deeplabv2_resnet101 would be trained from random weights for 90,000" in said
    assert all(w in said for w in ("source_checkpoint=FILE", "source_init=FILE", "--from-scratch"))
    assert ablation.main(["--preset", V3, *places]) == 2
    assert "--from-scratch" in one_line(capsys)
    assert scenarios.main([*places, "--from-scratch"]) == 2
    assert "data/gta5" in one_line(capsys)
    assert scenarios.main([*places, "--list"]) == 0
    assert not list(tmp_path.rglob("*.json"))


def test_what_has_something_to_start_from_is_not_asked(tmp_path: Path) -> None:
    full = PRESETS[V2].settings()
    for settings in (
        full.replace(source_checkpoint="x.pth"),
        full.replace(source_init="x.pth"),
        tiny(),
    ):
        refuse_random_source([settings], tmp_path, False)
    refuse_random_source([full], tmp_path, True)
    with pytest.raises(StvmError, match="no source model"):
        refuse_random_source([tiny(), full], tmp_path, False)
    path = source_path(full, tmp_path)
    path.parent.mkdir()
    path.touch()
    refuse_random_source([full], tmp_path, False)


def test_a_list_names_a_checkpoint_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ["--results", str(tmp_path), "--list"]
    missing = tmp_path / "none.pth"
    for command in (scenarios.main, ablation.main, optuna_search.main):
        assert command([*places, f"source_checkpoint={missing}"]) == 2
        assert f"source_checkpoint={missing}: no such file" in one_line(capsys)
    assert ablation.main([*places, f"source_init={tmp_path}"]) == 2
    told = one_line(capsys)
    assert f"source_init={tmp_path}: is a folder; give the path" in told and "docs" not in told
    monkeypatch.chdir(tmp_path)
    assert ablation.main([*places, "--preset", "carla_camvid"]) == 2
    assert "existing file, or put this file there (docs/scenarios.md says" in one_line(capsys)


def hours(told: str) -> str:
    return told.partition(" are about ")[2].partition(" on one core")[0]


def test_full_size_trials_on_a_processor_have_to_be_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """48.8 s and 38.7 s a step of 2 x 512 x 512 as measured: 80,000 of them are 45 and 36 days."""
    two, three = (PRESETS[name].settings(source_checkpoint="x") for name in (V2, V3))
    with pytest.raises(StvmError, match="about 45 days on one core, 49 s each .*give --on-cpu"):
        accept_cpu([two], False)
    assert hours(accept_cpu([three], True)) == "36 days"
    assert hours(accept_cpu([three.replace(iterations=800)], True)) == "8.6 h"
    assert hours(accept_cpu([two.replace(iterations=8000, batch=1)], True)) == "2 days"
    # Without a metric network a step is the bare one: 45.6 s.
    assert hours(accept_cpu([two.replace(mgs=False, mocm=False)], True)) == "42 days"
    for short in (tiny(), three.replace(iterations=50), three.replace(procedure="adabn", **OFF)):
        assert accept_cpu([short], False) == ""


OFF: dict[str, Any] = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)


@pytest.mark.parametrize(
    ("words", "refused"), [([], True), (["--on-cpu"], False), (["--gpus-per-trial", "0"], False)]
)
def test_the_command_line_says_yes(
    words: list[str], refused: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    run_options = options_of(study_parser("", (0,)).parse_args(words))
    trial = Trial("STvM", 0, 0, False, PRESETS[V2].settings(source_checkpoint="x"))
    if refused:
        with pytest.raises(StvmError, match="--on-cpu"):
            run_study.show_cpu([trial], run_options)
    else:
        run_study.show_cpu([trial], run_options)
        assert "45 days" in capsys.readouterr().out


def test_network_is_not_given_by_its_setting_where_an_option_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--results", str(tmp_path), "--list"]
    assert scenarios.main([*places, "network=deeplabv3_resnet50"]) == 2
    assert "use --network deeplabv3" in one_line(capsys)
    assert scenarios.main([*places, "network=resnet"]) == 2
    assert "one of deeplabv2, deeplabv3" in one_line(capsys)
    assert scenarios.main([*places, "network=small_deeplab"]) == 0


def test_a_checkpoint_of_another_network_names_the_option(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    save_network(build_network("small_deeplab", 8, 3), path, ("a", "b", "c"))
    with pytest.raises(StvmError, match="take network=small_deeplab$"):
        open_source_model(PRESETS[V2].settings(), path)
    with torch.device("meta"):
        state = build_network("deeplabv3_resnet50", 0, 19).state_dict()
    public = {
        k.replace("features.backbone", "backbone"): torch.zeros(v.shape) for k, v in state.items()
    }
    torch.save(public, path)
    with pytest.raises(StvmError, match="take --network deeplabv3 of studies/scenarios.py, a pres"):
        open_source_model(PRESETS[V2].settings(), path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--expect", "36.6"], "--expect needs --score"),
        (["--expect", "0.366", "--score"], "mIoU is given in per cent"),
    ],
)
def test_an_expectation_that_nothing_is_compared_with_is_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.safetensors"
    save_network(build_network("small_deeplab", 64, 19), path, ())
    assert main(["checkpoint", str(path), "--preset", "demo", *words]) == 2
    assert message in one_line(capsys)


def test_a_setting_that_says_nothing_of_a_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "own.pth")
    own = ["network=deeplabv2_resnet101", "checkpoint_family=mmseg", "aspp_branches=two"]
    assert main(["checkpoint", path, *own, "alpha=3"]) == 2
    assert "alpha has no effect without --preset: leave it out, or give a preset" in one_line(
        capsys
    )
    assert main(["checkpoint", path, "network_width=2"]) == 2
    assert "network_width has no effect without --preset" in one_line(capsys)
    assert main(["checkpoint", path, "network=espnetv2"]) == 2
    assert "network=espnetv2: give FILE.py:FUNCTION for your own network" in one_line(capsys)
    for more in ([], ["--preset", "demo"]):
        assert main(["checkpoint", path, *more, "source_checkpoint=a.pth"]) == 2
        assert f"the checkpoint is FILE ({path}): leave source_checkpoint out" in one_line(capsys)


def test_a_source_model_is_named_after_a_draw_where_there_is_one(tmp_path: Path) -> None:
    run_options = options_of(study_parser("", (0,)).parse_args(["--cache", str(tmp_path)]))

    def label(settings: Settings, realisation: int) -> str:
        trial = Trial("STvM", 0, realisation, False, settings)
        task = tasks.task_of(
            "source", trial, Results(tmp_path), run_options, Slots(1, 0.0, 1), False
        )
        return str(task["label"])

    assert label(tiny(realisation=3), 3) == "source model of realisation 3"
    assert label(PRESETS[V2].settings(), 0) == "source model"


def test_neither_a_study_nor_a_search_starts_on_a_processor_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a machine without a GPU, with Ray and the files left out: nothing is written."""
    for module in (run_study, run_search):
        monkeypatch.setattr(module, "connected", lambda *_: nullcontext([{"CPU": 2.0}]))
        monkeypatch.setattr(module, "check_files", lambda *_: None)
        monkeypatch.setattr(module, "prepare_slots", lambda *_: Slots(1, 0.0, 2))
        monkeypatch.setattr(module, "missing_sources", lambda *_: pytest.fail("it goes on"))
    path = tmp_path / "x.pth"
    path.touch()
    places = ["--results", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]
    given = [*places, f"source_checkpoint={path}", f"source_root={tmp_path}"]
    assert scenarios.main([*given, f"target_root={tmp_path}"]) == 2
    assert "45 days on one core" in one_line(capsys)
    study = [*places, "network=deeplabv3_resnet50", "iterations=80000", "batch=4", "crop_width=128"]
    assert optuna_search.main([*study, f"source_checkpoint={path}"]) == 2
    assert "give --on-cpu" in one_line(capsys)
    assert not list(tmp_path.rglob("records/*"))
