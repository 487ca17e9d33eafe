"""Trials of a search that failed and have a result by now."""

import optuna
from optuna.trial import TrialState

from stvm.records.passed_over import going_on
from stvm.records.results import Results
from stvm.records.selection_scores import SelectionScore
from stvm.search.plan import score_value

_AGAIN = "again"


def tell_again(
    study: optuna.Study, results: Results, score: SelectionScore, passed_over: list[str]
) -> None:
    """Add a trial for each failed one that has a result by now; Optuna changes no ended trial.

    Args:
        study: Optuna's study.
        results: folder of the records.
        score: score by which the search chooses.
        passed_over: list for a line on each record that cannot be read.
    """
    before = told_again(study)
    for t in study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
        record = None
        with going_on(passed_over):
            record = results.read(t.user_attrs.get("hash", ""))
        if t.number in before or record is None:
            continue
        value, _ = score_value(record, score)
        if value is None:
            continue
        known = {key: t.user_attrs[key] for key in ("hash", "settings")}
        study.add_trial(
            optuna.trial.create_trial(
                params=t.params,
                distributions=t.distributions,
                value=value,
                user_attrs=known | {_AGAIN: t.number},
            )
        )


def told_again(study: optuna.Study) -> set[int]:
    """Numbers of FAIL trials whose result stands under another number."""
    trials = study.get_trials(deepcopy=False)
    return {t.user_attrs[_AGAIN] for t in trials if _AGAIN in t.user_attrs}
