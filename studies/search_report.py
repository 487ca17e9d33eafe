"""The report of a search: its list, the best setting, the comparison with the default."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from studies.cli import refuse_other_files_of
from studies.study_builder import evaluation_rule
from stvm.errors import StvmError
from stvm.records.passed_over import going_on
from stvm.records.results import Results
from stvm.search.plan import Plan, best_trial, format_value
from stvm.search.space import Values, default_values, format_assignments, search_split
from stvm.settings.presets import Preset
from stvm.statistics import Estimate, TrialKey, paired_difference
from stvm.study import Study, Trial

REPORTED = ("default", "best")
"""Rows of the report; all other rows are search trials."""


def report_trials(
    plan: Plan, preset: Preset, best: Values, seeds: Sequence[int], realisations: Sequence[int]
) -> tuple[Trial, ...]:
    """Trials of the best setting and of the default with the report's seeds."""
    trials = []
    for row, values in zip(REPORTED, ({}, best), strict=True):
        for number in realisations:
            tuned = number in preset.tuned or plan.looked_at(number)
            here = plan.base.on_realisation(number).replace(**values)
            trials += [
                Trial(row, seed, number, tuned, plan.rename(here.replace(seed=seed)))
                for seed in seeds
            ]
    return tuple(trials)


def search_study(
    plan: Plan, study: optuna.Study, facts: dict[str, Any], report: Sequence[Trial]
) -> Study:
    """The search as a study: its recorded trials, what reports need, and the report's trials.

    The best setting may change while a search runs. The manifest then loses the trials of the
    earlier best.

    Args:
        plan: the plan of the search.
        study: Optuna's study.
        facts: values from `find_facts`.
        report: trials from `report_trials`, for the best setting in `facts`.
    """
    told = [t for t in study.get_trials(deepcopy=False) if t.state.name in ("COMPLETE", "FAIL")]
    return Study(
        name="search",
        table=0,
        preset=plan.preset,
        base=plan.hash,
        title=title(plan),
        rule=rule(plan),
        dataset=plan.base.data.dataset,
        trials=(*(plan.trial(t.number, t.user_attrs["settings"]) for t in told), *report),
        facts=facts,
        replaces=REPORTED,
    )


def refuse_other_files_of_search(
    plan: Plan, study: optuna.Study, results: Results, cache: Path
) -> None:
    """Refuse search trials of earlier runs that read other files at the same path.

    Raises:
        StvmError: there is one; the message names its record.
    """
    begun = [t for t in study.get_trials(deepcopy=False) if "settings" in t.user_attrs]
    trials = [plan.trial(t.number, t.user_attrs["settings"]) for t in begun]
    refuse_other_files_of(trials, results, cache)
    for told, trial in zip(begun, trials, strict=True):
        path = results.record_path(told.user_attrs["hash"])
        if told.user_attrs["hash"] != trial.hash and path.exists():
            data, source = trial.settings.data, trial.settings.source
            places = (data.source_root, data.target_root, source.source_checkpoint)
            raise StvmError(
                f"{path}: recorded with other files in {' or '.join(filter(None, places))}; "
                "restore them, or name another search with --name"
            )


def rule(plan: Plan) -> str:
    """A sentence on how the best setting is chosen and how it is measured."""
    measured, none = evaluation_rule(plan.base), "; nothing is selected by target labels."
    if plan.score.oracle:
        measured = measured.removesuffix(none) + "."
    seen = (
        f"the target's {search_split(plan.base)} split"
        if plan.score.oracle
        else ("unlabelled target images")
    )
    split = search_split(plan.base)
    same = f" Search trials too are measured on the split {split}." if plan.same_split else ""
    return (
        f"Settings are chosen by {plan.score.label} on {seen}, seed {plan.seed}. {measured}{same}"
    )


def title(plan: Plan) -> str:
    """A title of one line for people."""
    names = ", ".join(p.name for p in plan.parameters)
    return f"Search for {names} by {plan.score.label}, preset {plan.preset}"


def find_facts(plan: Plan, study: optuna.Study, place: str, seeds: Sequence[int]) -> dict[str, Any]:
    """The manifest's facts: how the search was made, and the best setting so far."""
    from stvm.search.plots import importances

    facts: dict[str, Any] = {k: v for k, v in plan.identity().items() if k != "settings"}
    facts |= {
        "objective": plan.score.name,
        "oracle": plan.score.oracle,
        "storage": place,
        "study": plan.name,
        "defaults": default_values(plan.parameters, plan.base),
        "report_seeds": list(seeds),
        "states": dict(Counter(t.state.name for t in study.get_trials(deepcopy=False))),
        "importances": shares if isinstance(shares := importances(study), dict) else None,
        "best": None,
        "best_trial": None,
        "best_value": None,
    }
    if facts["states"].get("COMPLETE"):
        best = best_trial(study)
        facts |= {"best": best.user_attrs["settings"], "best_trial": best.number}
        facts["best_value"] = best.value
    return facts


def list_search(plan: Plan, study: optuna.Study | None, place: str) -> None:
    """Print Optuna's trials: state, parameters and value."""
    print(f"{title(plan)}\nstudy {plan.name} in {place}")
    trials = study.get_trials(deepcopy=False) if study else []
    for t in trials:
        values = t.user_attrs.get("settings") or t.system_attrs.get("fixed_params", t.params)
        state = t.state.name
        if state == "COMPLETE" and t.value is not None:
            state += f"  {plan.score.label} {format_value(t.value, plan.score)}"
        state += f"  {t.user_attrs['reason']}" if "reason" in t.user_attrs else ""
        print(f"  trial {t.number:<4d} {format_assignments(values):48s}  {state}")
    counts = Counter(t.state.name for t in trials)
    print(", ".join(f"{n} {state}" for state, n in counts.items()) or "no trials yet")


def compare(plan: Plan, results: Results, trials: Sequence[Trial]) -> None:
    """Print mIoU of the best setting and of the default, and their paired difference."""
    rows: dict[str, dict[TrialKey, float]] = {"default": {}, "best": {}}
    for trial in trials:
        record = None
        # The run of these trials has named what cannot be read.
        with going_on([]):
            record = results.read(trial.hash)
        if record and record.miou is not None:
            key = (trial.realisation, trial.seed)
            rows[trial.variant][key] = 100 * record.miou
    split = plan.base.training.eval_split
    print(f"\nmIoU in per cent on the target's {split} split, seeds that the search did not use:")
    for row, values in rows.items():
        numbers = " ".join(f"{value:.1f}" for value in values.values()) or "missing"
        print(f"  {row:8s} {numbers}")
    difference = paired_difference(rows["best"], rows["default"])
    print(f"  best minus default, paired by seed: {_interval(difference)}")


def _interval(found: Estimate) -> str:
    if found.mean is None:
        return "missing"
    if found.low is None:
        return f"{found.mean:+.1f}, one pair: no interval"
    return (
        f"{found.mean:+.1f}, 95 % t interval [{found.low:+.1f}, {found.high:+.1f}], {found.n} pairs"
    )


def conclude(plan: Plan, study: optuna.Study, changes: dict[str, str], folder: Path) -> None:
    """Print the best setting, its command and the importances, and write the plots.

    Raises:
        StvmError: no trial has a value.
    """
    from stvm.search.plots import importances, write_plots

    best, oracle = best_trial(study), " (an oracle: chosen by target labels)"
    values: Values = best.user_attrs["settings"]
    assert best.value is not None
    print(
        f"\nbest of {len(study.get_trials(deepcopy=False))}{oracle * plan.score.oracle}: "
        f"trial {best.number}, {plan.score.label} {format_value(best.value, plan.score)}: "
        f"{format_assignments(values)}"
    )
    others = [shlex.quote(f"{k}={v}") for k, v in changes.items() if k not in values]
    command = [
        "python studies/ablation.py --preset",
        plan.preset,
        *others,
        format_assignments(values),
    ]
    print(f"to use it: {' '.join(command)}")
    shares = importances(study)
    if isinstance(shares, dict):
        shares = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    print(f"importances for {plan.score.label}: {shares}")
    for line in write_plots(study, plan.score.label, folder):
        print(line)
