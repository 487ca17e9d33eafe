"""Settings of the objectives beside STvM: what a procedure brings, and what it refuses."""

import re
from typing import Any

import pytest

from studies.commands.settings_list import describe
from stvm.errors import StvmError
from stvm.settings import GROUPS, PEERS, Settings, field_of, is_hashed_if_changed
from stvm.settings.peer_limits import TOGGLES
from stvm.settings.presets import PRESETS, find_preset
from stvm.trial.source_figure import source_row
from tests.helpers.tiny_settings import tiny


@pytest.mark.parametrize("procedure", PEERS)
def test_a_name_and_a_rate_are_enough(procedure: str) -> None:
    settings = Settings().replace(procedure=procedure, lr=1e-4)
    assert settings.method.adapts and not settings.method.st
    assert not (settings.method.mgs or settings.method.mocm)
    assert settings.canonical() == settings and settings.hash() != Settings().hash()


@pytest.mark.parametrize("procedure", PEERS)
@pytest.mark.parametrize("preset", ["demo", "camvid_fog", "cityscapes_camvid"])
def test_presets_give_way_where_they_have_no_effect(procedure: str, preset: str) -> None:
    assert preset in PRESETS
    settings = find_preset(preset).settings(procedure=procedure)
    plain = find_preset(preset).settings()
    assert settings.training.iterations == plain.training.iterations
    assert settings.method.n_f == Settings().method.n_f != plain.method.n_f


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"procedure": "minent", "alpha": 4.0}, "alpha=4.0 has no effect with procedure=minent"),
        ({"procedure": "minent", "mgs": True}, "mgs=true has no effect"),
        ({"procedure": "minent", "st": "true"}, "st=true has no effect"),
        ({"procedure": "minent", "mt": True}, "mt=true has no effect"),
        ({"procedure": "minent", "metric_lr": 1.0}, "metric_lr=1.0 has no effect"),
        ({"procedure": "minent", "evaluated": "teacher"}, "evaluated=teacher has no effect"),
        ({"procedure": "minent", "aug_strength": 0.5}, "it needs aug=true; add that"),
        ({"procedure": "hardst", "ema_period": 7}, "it needs mt=true; add that"),
        ({"procedure": "hardst", "mt": True, "labeller": "student"}, "labeller=student has no"),
        ({"procedure": "tent", "student_bn": "frozen"}, "student_bn=frozen has no effect"),
        ({"procedure": "tent", "hardst_threshold": 0.5}, "it belongs to procedure=hardst"),
        ({"hardst_threshold": 0.5}, "it belongs to procedure=hardst"),
        ({"procedure": "shotim", "head_lr_factor": 3.0}, "head_lr_factor=3.0 has no effect"),
        ({"procedure": "tent", "aug_strength": 0.5}, "procedure=tent: leave it out, or set"),
        ({"procedure": "maxsqares"}, "setting 'procedure' is 'maxsqares'"),
    ],
)
def test_what_has_no_effect_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(StvmError, match=re.escape(told)):
        Settings().replace(**changes)


def test_what_has_an_effect_is_taken() -> None:
    settings = Settings().replace(
        procedure="hardst", mt="true", ema_period=7, aug="on", aug_strength=0.5, evaluated="teacher"
    )
    assert settings.method.mt and settings.method.aug and settings.method.aug_strength == 0.5
    tent = Settings().replace(procedure="tent", optimizer="sgd")
    assert tent.training.optimizer == "sgd"
    assert Settings().replace(procedure="tent").training.optimizer == "adamw"


def test_an_objective_brings_its_published_parts() -> None:
    cotta = Settings().replace(procedure="cotta")
    assert cotta.method.mt and cotta.method.aug and cotta.training.evaluated == "teacher"
    assert (cotta.method.ema_period, cotta.method.teacher_bn) == (1, "keep")
    for procedure in ("cotta", "tent"):
        assert Settings().replace(procedure=procedure).training.head_lr_factor == 1
    bns = {"iast": "frozen", "hcl": "statistics", "srda": "train"}
    for procedure, student_bn in bns.items():
        assert Settings().replace(procedure=procedure).method.student_bn == student_bn


def test_leaving_an_objective_gives_back_what_it_brought() -> None:
    tent = Settings().replace(procedure="tent", lr=1e-4)
    back = tent.replace(procedure="adapt")
    assert back == Settings().replace(lr=1e-4)
    other = tent.replace(procedure="minent")
    assert other == Settings().replace(procedure="minent", lr=1e-4)
    own = Settings().replace(procedure="hardst", hardst_threshold=0.5)
    assert own.replace(procedure="minent").flat()["hardst_threshold"] == 0.9


def test_a_given_value_outlives_two_changes_of_the_objective_and_a_brought_one_does_not() -> None:
    given = Settings().replace(procedure="minent", student_bn="frozen", aug=True)
    for second in ("hardst", "hcl", "maxsquares"):
        other = given.replace(procedure=second)
        assert (other.method.student_bn, other.method.aug) == ("frozen", True)
        back = other.replace(procedure="minent")
        assert back == given and back.hash() == given.hash()
    assert given.replace(procedure="maxsquares").replace(procedure="adapt") == Settings().replace(
        student_bn="frozen"
    )
    brought = Settings().replace(procedure="minent")
    assert brought.replace(procedure="maxsquares").method.student_bn == "train"
    for second in PEERS:
        assert brought.replace(procedure=second) == Settings().replace(procedure=second)
    rate = {"network": "deeplabv3_resnet50", "head_lr_factor": 3.0}
    changed = Settings().replace(procedure="tent", **rate).replace(procedure="cotta")
    assert (changed.training.head_lr_factor, changed.training.optimizer) == (3.0, "sgd")
    assert changed.replace(procedure="minent").training.head_lr_factor == 3.0


def test_values_of_a_preset_give_way_to_those_that_an_objective_brings() -> None:
    preset = find_preset("cityscapes_camvid")
    assert preset.settings().method.student_bn == "frozen"
    assert preset.settings(procedure="minent").method.student_bn == "statistics"


@pytest.mark.parametrize("procedure", PEERS)
def test_every_objective_has_the_source_row_of_stvm(procedure: str) -> None:
    """Nothing that an objective brings may change the source model that it starts from."""
    settings = tiny(seed=1).replace(procedure=procedure)
    assert source_row(settings).hash() == source_row(tiny(seed=1)).hash()
    assert settings.source_hash() == tiny().source_hash()


@pytest.mark.parametrize("procedure", PEERS)
def test_an_objective_is_told_from_another_by_its_settings_alone(procedure: str) -> None:
    row = PEERS[procedure]
    for name in row.group.model_fields if row.group else ():
        assert name.startswith(f"{procedure}_") and is_hashed_if_changed(field_of(name))
    brought = {*row.brings, *row.uses}
    known = {name for group in GROUPS.values() for name in group.model_fields}
    assert brought <= known and not {"st", "mgs", "mocm"} & brought and {*TOGGLES} <= known


def test_toggles_that_are_off_have_no_name() -> None:
    """A trial has one name, whether its toggles were given or followed."""
    off = dict.fromkeys(TOGGLES, False)
    given = Settings().replace(procedure="minent", **off)
    assert given.hash() == Settings().replace(procedure="minent").hash()


def test_the_list_calls_no_value_of_an_objective_one_of_table_v() -> None:
    told = describe("hardst_threshold")
    assert "0.8 0.9 0.95" in re.sub("[ ,]+", " ", told) and "Table V" not in told
    assert "Table V" in describe("alpha")
