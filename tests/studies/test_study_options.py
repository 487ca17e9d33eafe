"""What a command line makes of a study, of a search, and of a run's permissions."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studies import search_options
from studies.search_options import build_plan, search_parser
from studies.study_builder import StudyBuilder, describe_changes, evaluation_rule
from studies.study_options import options_of, study_parser
from stvm.errors import StvmError
from stvm.settings.presets import find_preset
from stvm.tune.options import RunOptions
from tests.helpers.tiny_settings import tiny


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["--cpus-per-trial", "3"], {"cpus": 3}),
        (["--gpus-per-trial", "0.5"], {"gpus": 0.5}),
        (["--address", "auto"], {"address": "auto"}),
        (["--cache", "c"], {"cache": Path("c")}),
        (["--tensorboard"], {"tensorboard": True}),
        (["--keep-every", "7"], {"keep_every": 7}),
        (["--on-cpu"], {"on_cpu": True}),
        (["--from-scratch"], {"from_scratch": True}),
    ],
)
def test_each_option_of_a_run_reaches_its_own_field(
    words: list[str], expected: dict[str, Any]
) -> None:
    options = options_of(study_parser("", [0]).parse_args(words))
    assert vars(options) == vars(RunOptions(None, None, None, Path(".cache"))) | expected


def planned(*words: str, **changes: str) -> Any:
    return build_plan(search_parser("").parse_args(words), changes)


def test_a_search_takes_the_draw_that_is_asked_for_and_knows_whether_it_was_tuned_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    preset = replace(find_preset("demo"), realisation=3, tuned=(3, 7))
    monkeypatch.setattr(search_options, "find_preset", lambda name: preset)
    for words, number, tuned in (([], 3, True), (["0"], 0, False), (["7"], 7, True)):
        plan = planned(*(["--search-realisation"] * bool(words)), *words)
        assert (plan.realisation, plan.tuned) == (number, tuned)


def test_a_search_has_a_seed_of_its_suggestions_and_one_of_its_trials() -> None:
    plan = planned("--sampler-seed", "3", "--search-seed", "12")
    assert (plan.sampler_seed, plan.seed) == (3, 12)
    with pytest.raises(StvmError, match="realisations are draws of the embedded benchmark"):
        planned("--search-realisation", "0", dataset="folder", classes="a", **roots())


def roots() -> dict[str, str]:
    return {"source_root": "here/gta", "target_root": "here/cs"}


def test_every_seed_and_draw_is_listed_once_in_the_order_given() -> None:
    builder = StudyBuilder("demo", {"iterations": "3"}, [5, 2, 5])
    made = list(builder.seeded([1, 0, 1]))
    assert [(number, seed) for number, seed, _ in made] == [(5, 1), (5, 0), (2, 1), (2, 0)]
    for number, seed, settings in made:
        assert (settings.data.realisation, settings.training.seed) == (number, seed)
        assert settings.training.iterations == 3


def test_what_a_study_varies_cannot_be_changed_but_workers_can() -> None:
    assert StudyBuilder("demo", {"workers": "3"}, None).settings.training.workers == 3
    for name, value in (("seed", "3"), ("mt", "false"), ("alpha", "4")):
        with pytest.raises(StvmError, match=f"'{name}' is what this study varies"):
            StudyBuilder("demo", {name: value}, None, varied=("alpha",))
    with pytest.raises(StvmError, match="--realisations are draws of the embedded benchmark"):
        StudyBuilder("demo", {"dataset": "folder", "classes": "a"} | roots(), [1])


def test_a_title_names_the_changes_without_folders() -> None:
    assert describe_changes({"alpha": "4", "q_m": 0.1} | roots()) == " alpha=4 q_m=0.1"
    study = StudyBuilder("demo", {"alpha": "4"}, None).study("one", 4, "Rows", [])
    assert (study.title, study.preset) == ("Rows, preset demo alpha=4", "demo")


@pytest.mark.parametrize(
    ("evaluated", "words"),
    [("student", "the student"), ("teacher", "the teacher (without MT: the student)")],
)
def test_the_rule_names_network_iterations_and_split(evaluated: str, words: str) -> None:
    rule = evaluation_rule(tiny(evaluated=evaluated, iterations=11, eval_split="val"))
    assert rule.startswith(f"Every row that adapts: {words} after the last of 11 iterations. ")
    assert "mIoU over the target's val split" in rule
