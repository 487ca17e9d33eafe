"""The study of objectives: its two stages, the choice of rates, refusals, and a whole run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from studies import ablation
from studies.objective_plan import ORACLE, SCORE, Candidate, Plan, all_candidates
from studies.objectives import choose_candidates, main
from studies.rate_choice import Choice, choose
from stvm.evaluation.label_free import entropy_of, soft_neighbourhood_density
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.records.selection_scores import SELECTION_SCORES
from stvm.settings.peers import PEERS, Peer
from stvm.settings.presets import find_preset
from stvm.study import Study
from tests.helpers.tiny_settings import ASSIGNMENTS

INFORMATION = SELECTION_SCORES["information_maximisation"]
ENTROPY = SELECTION_SCORES["entropy"]


def done(information: float, miou: float, **more: Any) -> Record:
    scores = {"information_maximisation": information, "entropy": information}
    return Record("0" * 12, "done", result={"miou": miou, "scores": scores, **more})  # type: ignore[typeddict-item]


FAILED = Record("0" * 12, "failed", failure={"error": "loss is nan"})


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        ([done(1.0, 0.3), done(2.0, 0.5), done(1.5, 0.6)], Choice(2.0, 3.0)),
        ([done(1.0, 0.3), done(1.0, 0.3), done(0.5, 0.1)], Choice(1.0, 1.0)),
        # A collapsed trial is passed over however good its score, but not by the oracle.
        ([done(1.0, 0.3), done(9.0, 0.4, collapsed=True), FAILED], Choice(1.0, 2.0)),
        ([done(1.0, 0.3, collapsed=True), done(2.0, 0.1, collapsed=True)], Choice(2.0, 1.0)),
        ([FAILED, FAILED, FAILED], Choice(1.0, 1.0)),
        ([done(1.0, 0.3), None, done(2.0, 0.1)], None),
        ([], None),
    ],
)
def test_the_best_score_that_did_not_collapse_is_chosen(
    tried: list[Record | None], expected: Choice | None
) -> None:
    records = {float(rate): record for rate, record in enumerate(tried, 1)}
    assert choose(records, INFORMATION) == expected


def test_the_lowest_entropy_is_the_best_one() -> None:
    records: dict[float, Record | None] = {1.0: done(0.9, 0.1), 2.0: done(0.2, 0.1)}
    assert choose(records, ENTROPY) == Choice(2.0, 1.0)
    records[2.0] = done(0.2, 0.1, scores={})
    assert choose(records, ENTROPY) == Choice(1.0, 1.0), "a trial without score is not chosen"


def test_every_objective_has_its_rows_and_three_rates() -> None:
    base = find_preset("demo").settings()
    rows = all_candidates()
    assert {str(c.changes.get("procedure", "adapt")) for c in rows} == {*PEERS, "adapt"}
    assert len({c.row for c in rows}) == len(rows)
    for candidate in rows:
        tried = candidate.tried(base)
        assert len(tried) == 3 and len({s.hash() for s in tried.values()}) == 3
        assert all(settings.training.lr == rate for rate, settings in tried.items())
        procedure = candidate.changes.get("procedure", "adapt")
        assert {s.method.procedure for s in tried.values()} == {procedure}


def test_a_new_objective_is_a_row_without_a_line_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "toy", Peer("nothing", "toy:Toy", rates=(2.0,)))
    (toy,) = [c for c in all_candidates() if c.row == "toy"]
    assert toy == Candidate("toy", {"procedure": "toy"}, (2.0,))


def put(results: Results, plan: Plan, scores: list[float]) -> None:
    for trial, score in zip(plan.rate_study().trials, scores, strict=True):
        name = trial.hash
        results.write(Record(name, "done", result={"miou": -score / 10 + 0.9,
            "scores": {"information_maximisation": score}}))  # fmt: skip


def plan(*rows: str, **more: Any) -> Plan:
    found = tuple(c for c in all_candidates() if c.row in rows)
    return Plan("demo", {}, {}, found, realisation=100, **more)


def test_the_rows_run_with_the_chosen_rates_and_where_nothing_was_chosen_on(
    tmp_path: Path,
) -> None:
    results, asked = Results(tmp_path), plan("MinEnt", "MaxSquares")
    assert asked.choices(results, []) == {"MinEnt": None, "MaxSquares": None}
    put(results, asked, [1, 2, 3, 6, 5, 4])
    choices = asked.choices(results, [])
    assert choices == {"MinEnt": Choice(1.5e-4, 1.5e-6), "MaxSquares": Choice(1.5e-5, 1.5e-3)}
    study = asked.report_study(choices, [0, 1], [0, 2])
    assert {t.settings.training.seed for t in asked.rate_study().trials} == {1000}
    assert {t.realisation for t in asked.rate_study().trials} == {100}
    assert {t.settings.training.eval_split for t in asked.rate_study().trials} == {"val"}
    table4 = ablation.build_study("demo", {}, [0, 1], [0, 2]).trials
    assert study.trials[: len(table4)] == table4
    rest = {(t.variant, t.realisation, t.seed): t for t in study.trials[len(table4) :]}
    assert len(rest) == 4 * 4
    assert [row.endswith(ORACLE) for row, *_ in rest] == [False] * 8 + [True] * 8
    for (row, realisation, seed), trial in rest.items():
        assert trial.settings.data.realisation == realisation in (0, 2) and seed in (0, 1)
        choice = choices[row.removesuffix(ORACLE)]
        assert choice
        rate = choice.oracle if row.endswith(ORACLE) else choice.rate
        assert trial.settings.training.lr == rate and trial.settings.training.seed == seed
        assert trial.settings.training.eval_split == "test"
    assert study.facts["grid_ends"] == {"MinEnt": [1.5e-6, 1.5e-4], "MaxSquares": [1.5e-5, 1.5e-3]}
    assert study.facts["choice_split"] == "val" and study.facts["rates"] == asked.rate_study().base


def test_one_rate_of_both_costs_nothing_twice(tmp_path: Path) -> None:
    study = plan("MinEnt").report_study({"MinEnt": Choice(1.5e-4, 1.5e-4)}, [0], None)
    names = {t.variant: t.hash for t in study.trials}
    assert names["MinEnt"] == names[f"MinEnt{ORACLE}"]


def test_another_choice_is_another_study(tmp_path: Path) -> None:
    choices: dict[str, Choice | None] = {"MinEnt": Choice(1.5e-4, 1.5e-4)}
    bases = {
        p.report_study(choices, [0], None).base
        for p in (
            plan("MinEnt"),
            plan("MinEnt", "MaxSquares"),
            plan("MinEnt", seed=7),
            plan("MinEnt", score=ENTROPY),
            replace(plan("MinEnt"), own={"maxsquares_ratio": "0.5"}),
        )
    }
    assert len(bases) == 4, "rows alone make no other study"


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        (["tent", "CBST"], ["TENT", "CBST"]),
        (["SHOTIM"], ["SHOT-IM", "SHOT-IM (source prior)"]),
        (["shot-im"], ["SHOT-IM"]),
    ],
)
def test_a_row_is_found_by_its_name_or_its_procedure(asked: list[str], rows: list[str]) -> None:
    chosen = choose_candidates(all_candidates(), asked, [])
    assert [c.row for c in chosen] == rows
    left = choose_candidates(all_candidates(), [], [*asked, "adabn"])
    assert [c.row for c in left] == [c.row for c in all_candidates() if c.row not in rows]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows", "MinEt"], "unknown row 'MinEt': did you mean 'MinEnt'?"),
        (["--rows", ""], "unknown row ''"),
        (["--rows", "MinEnt:1e-4"], "--rows takes names alone, as in --rows CBST LD"),
        (["--rows", "CBST", "minent=1e-4"], "leave the rate out of minent=1e-4"),
        (["--rows"], "chooses the learning rates: name rows, or use studies/scenarios.py"),
        (["--rows=MinEnt=1e-4"], "leave the rate out of MinEnt=1e-4"),
        (["--without", "AdaBN,LD"], "unknown row 'AdaBN,LD'"),
        (["--without", "AdaBM"], "unknown row 'AdaBM': did you mean 'AdaBN'?"),
        (["--score", "mIoU"], "--score mIoU reads target labels"),
        (["--score", "mio"], "unknown score 'mio': there are "),
        (["--score", "entrpy"], "unknown score 'entrpy': did you mean 'entropy'"),
        (["--choice-seed", "1", "--seeds", "0", "1"], "--choice-seed 1 is one of --seeds"),
        (["--choice-realisation", "0"], "--choice-realisation 0 is one of --realisations"),
        (["--realisations", "0", "100"], "--choice-realisation 100 is one of --realisations"),
        (["procedure=minent"], "'procedure' is what this study varies"),
        (["maxsquares_ratio=2"], "maxsquares_ratio"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--results", str(tmp_path), *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_data_without_realisations_are_chosen_on_a_seed_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["dataset=folder", "classes=road,sidewalk"]
    folder += [f"source_root={tmp_path}", f"target_root={tmp_path}"]
    arguments = ["--results", str(tmp_path / "r"), "--rows", "MinEnt", *folder]
    assert main([*arguments, "--choice-realisation", "3"]) == 2
    assert "--choice-realisation is a draw of the embedded" in capsys.readouterr().err
    assert main([*arguments, "--list"]) == 0
    shown = capsys.readouterr().out
    assert "MinEnt, lr=0.00015 seed 1000 " in shown and "realisation 0" not in shown


def test_settings_of_an_objective_reach_its_rows_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"maxsquares_ratio": "0.5"}
    rows = {c.row: c for c in all_candidates(given)}
    base = find_preset("demo").settings()
    (changed, *_), (other, *_) = (
        list(rows[row].tried(base).values()) for row in ("MaxSquares+IW", "MinEnt")
    )
    assert changed.flat()["maxsquares_ratio"] == 0.5
    # The row without weights does not use it, and stays as it is.
    assert rows["MaxSquares"] == {c.row: c for c in all_candidates()}["MaxSquares"]
    assert other == next(
        s for c in all_candidates() if c.row == "MinEnt" for s in c.tried(base).values()
    )


@pytest.mark.parametrize(
    ("rows", "given", "told"),
    [
        (["MaxSquares"], "maxsquares_ratio=0.5", "has no effect on the rows that are asked for"),
        (["TENT"], "cbst_share=0.3", "leave it out, or add CBST"),
        (["CBST"], "cbst_share=0.6", "cbst_share=0.6 is above cbst_share_most=0.5"),
        (["URMA"], "urma_consistency=0 urma_decoders=2", "no effect with urma_consistency=0"),
        (
            ["SRDA"],
            "srda_class_weights=equal srda_floor=0.02",
            "srda_floor=0.02 has no effect with srda_class_weights=equal: leave it out, or change",
        ),
    ],
)
def test_a_setting_that_no_row_uses_is_refused(
    rows: list[str], given: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--rows", *rows, *ASSIGNMENTS, *given.split(), "--list"]
    assert main(["--results", str(tmp_path), *words]) == 2
    assert told in capsys.readouterr().err


def test_a_row_whose_record_cannot_be_read_leaves_the_others_their_choice(tmp_path: Path) -> None:
    results, asked = Results(tmp_path), plan("MinEnt", "MaxSquares")
    put(results, asked, [1, 2, 3, 6, 5, 4])
    results.record_path(asked.rate_study().trials[1].hash).write_text("{")
    unread: list[str] = []
    choices = asked.choices(results, unread)
    assert choices == {"MinEnt": None, "MaxSquares": Choice(1.5e-5, 1.5e-3)}
    assert unread == ["MinEnt"]


def test_the_rows_run_after_a_record_of_a_rate_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = []

    def run_study(study: Study, options: Any) -> int:
        studies.append(study)
        if len(studies) == 1:
            first, *others = (trial.hash for trial in study.trials)
            for name in others:
                Results(tmp_path).write(replace(done(1.0, 0.5), hash=name))
            Results(tmp_path).record_path(first).write_text("{")
            return 2
        return 0

    monkeypatch.setattr("studies.objectives.run_study", run_study)
    words = ["--rows", "MinEnt", "MaxSquares", *ASSIGNMENTS]
    assert main(["--results", str(tmp_path), *words]) == 2
    told = capsys.readouterr()
    assert told.err == "left out: MinEnt: a record of their rates cannot be read\n"
    assert "MaxSquares" in {trial.variant for trial in studies[1].trials}


def test_a_list_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--results", str(tmp_path / "r"), "--rows", "MinEnt", *ASSIGNMENTS]
    assert main([*arguments, "--without", "ST", "--score", "Entropy", "--list"]) == 0
    shown = capsys.readouterr().out
    assert "rates chosen by mean entropy, and by target labels" in shown
    assert "3 cells, 3 trials: 0 recorded" in shown and "not chosen yet" in shown
    assert "8 cells, 8 trials" in shown and " ST " not in shown
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
@pytest.mark.parametrize("ray", [False, pytest.param(True, marks=pytest.mark.long)])
def test_both_stages_run_and_a_second_time_nothing_does(
    ray: bool,
    tmp_path: Path,
    with_source: Path,
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if not ray:
        request.getfixturevalue("tune_here")
    results = tmp_path / "results"
    words = ["--results", str(results), "--cache", str(with_source), "--rows", "MinEnt"]
    words += [f"--without={row}" for row in ablation.BASELINES if row != "Source"]
    words += [f"--without={row}" for row in ablation.VARIANTS]
    assert main([*words, *ASSIGNMENTS]) == 0
    shown = capfd.readouterr().out
    assert "0 of 3 trials recorded" in shown and "oracle lr=" in shown
    kinds = sorted(p.stem.partition("-")[0] for p in (results / "studies").glob("*.json"))
    assert kinds == ["objective_rates", "objectives"]
    records = {p.name: p.read_bytes() for p in (results / "records").glob("*.json")}
    assert len(records) in (5, 6), "three rates, Source, and one or two rows"
    assert main([*words, *ASSIGNMENTS]) == 0
    assert records == {p.name: p.read_bytes() for p in (results / "records").glob("*.json")}


def test_of_the_scores_the_default_alone_falls_when_predictions_collapse() -> None:
    varied = torch.eye(4).repeat(8, 1) * 0.96 + 0.01
    collapsed = torch.tensor([0.97, 0.01, 0.01, 0.01]).repeat(32, 1)

    def scores(shares: torch.Tensor) -> tuple[float, float, float]:
        mean_entropy = entropy_of(shares).mean()
        density = soft_neighbourhood_density(shares)
        return float(entropy_of(shares.mean(0)) - mean_entropy), float(mean_entropy), float(density)

    (rich, entropy, dense), (poor, same, denser) = scores(varied), scores(collapsed)
    assert INFORMATION.name == SCORE and INFORMATION.higher_is_better
    assert poor == pytest.approx(0, abs=1e-6) and rich > 1
    assert same == pytest.approx(entropy, abs=1e-6), "entropy cannot tell them apart"
    assert denser > dense and SELECTION_SCORES["soft_neighbourhood_density"].higher_is_better
