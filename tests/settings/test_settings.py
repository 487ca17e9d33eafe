"""Settings: checked when they are set, and hashed into names by what matters."""

import pytest

from stvm.errors import StvmError
from stvm.settings import Settings, parse_assignments
from stvm.settings.presets import PRESETS, find_preset


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alhpa": 3}, "unknown setting 'alhpa': did you mean 'alpha'"),
        ({"q_m": 1.5}, "'q_m' is 1.5: .*less than 1"),
        ({"batch": "two"}, "'batch' is 'two': .*integer"),
        ({"temperature": float("nan")}, "'temperature' is nan"),
        ({"st": False}, "aug, mt, mgs, mocm without st has no meaning"),
        ({"crop_height": 512}, "crop 512x64 is larger than the image 64x128"),
        ({"dataset": "folder"}, "dataset=folder needs source_root=DIR and target_root=DIR"),
        ({"dataset": "folder", "source_root": "a"}, "dataset=folder needs target_root=DIR"),
        (
            {"dataset": "folder", "target_root": "b", "classes": "road,car"},
            "dataset=folder needs source_root=DIR to train a source model, or source_checkpoint=FI",
        ),
        ({"procedure": "adabn"}, "procedure=adabn uses no self-training: set st=false"),
    ],
)
def test_bad_settings_say_what_to_do(changes: dict[str, object], message: str) -> None:
    with pytest.raises(StvmError, match=message) as caught:
        Settings().replace(**changes)
    assert "\n" not in str(caught.value)


def test_assignments() -> None:
    assert parse_assignments(["alpha=4", "classes=0:a,1:b"]) == {"alpha": "4", "classes": "0:a,1:b"}
    for items, message in (
        (["alpha"], "not of the form"),
        (["alpha=1", "alpha=2"], "given twice"),
        (["alpa=1"], "did you mean 'alpha'"),
    ):
        with pytest.raises(StvmError, match=message):
            parse_assignments(items)


FOLDERS = {"source_root": "a", "target_root": "b", "classes": "road,sidewalk"}


def test_the_paper_preset_asks_for_folders() -> None:
    with pytest.raises(StvmError, match="needs source_root=DIR"):
        PRESETS["paper"].settings()


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(StvmError, match="unknown preset 'demi': did you mean 'demo'"):
        find_preset("demi")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name: str) -> None:
    preset = PRESETS[name]
    settings = preset.settings(**(FOLDERS if name == "paper" else {}))
    assert {k: settings.flat()[k] for k in preset.changes} == preset.changes


def test_the_papers_values_are_the_papers_preset() -> None:
    flat = PRESETS["paper"].settings(**FOLDERS).flat()
    stated = {
        "n_f": 128,
        "temperature": 0.25,
        "q_m": 0.2,
        "buffer_size": 50,
        "alpha": 2.0,
        "beta": 0.6,
        "tau_mocm": 0.8,
        "n_mocm": 10,
        "batch": 2,
        "crop_height": 512,
        "crop_width": 512,
        "height": 512,
        "width": 1024,
        "lr": 2.5e-4,
        "head_lr_factor": 10.0,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "metric_lr": 3e-4,
        "poly_power": 0.9,
        "ema_momentum": 1e-3,
        "ema_period": 100,
    }
    assert {name: flat[name] for name in stated} == stated


def test_a_setting_that_cannot_matter_does_not_change_the_hash() -> None:
    plain = Settings().replace(mgs=False, mocm=False)
    for change in ({"alpha": 8}, {"tau_mocm": 0.4}, {"n_f": 32}, {"workers": 2}):
        assert plain.replace(**change).hash() == plain.hash(), change
    for change in ({"ema_momentum": 0.1}, {"lr": 0.1}, {"seed": 3}, {"realisation": 2}):
        assert plain.replace(**change).hash() != plain.hash(), change
    off = {"st": False, "aug": False, "mt": False, "mgs": False, "mocm": False}
    source = Settings().replace(**off)
    assert source.replace(seed=5, lr=0.1, iterations=7).hash() == source.hash()
    assert source.replace(eval_split="val").hash() != source.hash()
    assert source.replace(procedure="adabn").hash() != source.hash()
    assert source.replace(source_lr=0.1).hash() != source.hash()
    for change in ({"adabn_share": 0.5}, {"start_bn": 0.5}):
        assert source.replace(**change).hash() == source.hash(), change
    adabn = source.replace(procedure="adabn")
    assert adabn.replace(start_bn=0.5).hash() == adabn.hash()
    assert adabn.replace(adabn_share=0.5).hash() != adabn.hash()
    assert Settings().replace(adabn_share=0.5).hash() == Settings().hash()
    assert Settings().replace(start_bn=0.5).hash() != Settings().hash()


@pytest.mark.parametrize(
    ("changes", "matters"),
    [
        ({}, True),
        ({"optimizer": "adamw"}, True),
        ({"optimizer": "adamw", "source_optimizer": "adamw"}, False),
        ({"optimizer": "adamw", "source_checkpoint": "a.pth"}, False),
        ({"source_optimizer": "adamw", "source_checkpoint": "a.pth"}, True),
        ({"source_optimizer": "adamw"}, True),
    ],
)
def test_momentum_names_a_trial_where_something_is_trained_with_sgd(
    changes: dict[str, str], matters: bool
) -> None:
    first, other = (Settings().replace(**changes, **m) for m in ({}, {"momentum": 0.5}))
    assert (first.hash() != other.hash()) == matters
    assert first.naming()["momentum"] == 0.9
    by_sgd = "source_optimizer" not in changes
    assert (first.source_hash() != other.source_hash()) == by_sgd


def test_settings_of_statistics_that_stay_at_their_defaults_name_nothing() -> None:
    """Trials that were recorded before these settings keep their names."""
    off = {"st": False, "aug": False, "mt": False, "mgs": False, "mocm": False}
    for settings in (Settings(), Settings().replace(procedure="adabn", **off)):
        assert not {"start_bn", "adabn_share"} & settings.identity().keys()


@pytest.mark.parametrize("change", [{"alpha": 8}, {"n_mocm": 2}, {"q_m": 0.4}, {"beta": 0.7}])
def test_a_setting_that_matters_changes_the_hash(change: dict[str, float]) -> None:
    assert Settings().replace(**change).hash() != Settings().hash()


def test_the_source_model_is_named_by_what_it_depends_on() -> None:
    plain = Settings()
    for change in ({"gap": 0.5}, {"target_images": 9}, {"alpha": 8}, {"seed": 4}):
        assert plain.replace(**change).source_hash() == plain.source_hash(), change
    for change in ({"realisation": 1}, {"source_lr": 0.1}, {"channels": 32}, {"crop_width": 32}):
        assert plain.replace(**change).source_hash() != plain.source_hash(), change
