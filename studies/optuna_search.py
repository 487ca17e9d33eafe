"""`python studies/optuna_search.py`: a search for alpha, beta and T by a score without labels.

Question: Which alpha, beta and T are best, chosen without target labels?
Command: python studies/optuna_search.py
Cost: 40 trials, 17 min
Expected: docs/results.md, "Search without labels"

Optuna suggests settings, and Ray Tune runs them as trials. Each trial is recorded as in every
study. The first one has the default setting. The search may be stopped or killed: the same
command continues it, and a larger --trials extends it.

Search trials use their own seed (--search-seed) and the split val. At the end the best setting
and the default run with --seeds on the preset's split. Only these are compared.

--objective miou looks at target labels: it is an oracle. --pruner stops trials early, by a score
without labels on unlabelled images, never by mIoU. With one trial at a time the search repeats
exactly. With more, the suggestions depend on the order in which trials end.

--retry-failed runs the failed trials of the final comparison again. A failed search trial counts
as finished. When its record becomes done (by `python -m studies retry-failed`), the search learns
its result.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import optuna
from optuna.trial import TrialState

from studies.cli import (
    check_machine,
    print_errors,
    print_left_out,
    refuse_other_files_of,
    renaming,
    run,
    run_command,
)
from studies.search_options import build_plan, search_parser
from studies.search_report import (
    compare,
    conclude,
    find_facts,
    list_search,
    refuse_other_files_of_search,
    report_trials,
    search_study,
    title,
)
from studies.study_builder import unique
from studies.study_options import options_of
from stvm.records.results import Results
from stvm.records.results_folder import refuse_part_of_results
from stvm.search.drivers import driving
from stvm.search.plan import NoBest, Plan, Suggestion
from stvm.search.search import Search
from stvm.search.space import default_values, format_assignments, search_split
from stvm.search.storage import (
    DATABASE_ERRORS,
    open_storage,
    storage_faults,
    storage_file,
    storage_place,
)
from stvm.settings.presets import find_preset
from stvm.study import Study, Trial
from stvm.tune.confirmations import refuse_missing_files


def search(options: argparse.Namespace, changes: dict[str, str]) -> int:
    """List the search, or run it and report; the exit code."""
    refuse_part_of_results(options.results)
    results = Results(options.results)
    plan = replace(build_plan(options, changes), rename=renaming(results, options.cache))
    refuse_missing_files([plan.base])
    place = storage_place(options.storage, plan.name)
    file = storage_file(options.storage, results.root, plan.name)
    if options.list:
        known = file is None or file.exists()
        study = None
        if known:
            storage = open_storage(options.storage, results.root, plan.name)
            with storage_faults(place):
                names = [s.study_name for s in optuna.get_all_study_summaries(storage)]
                if plan.name in names:
                    study = optuna.load_study(study_name=plan.name, storage=storage)
        list_search(plan, study, place)
        return 0
    check_machine(results, options_of(options))
    plots = results.root / "searches" / plan.name
    # Matplotlib is imported here alone: --list needs no plots.
    from stvm.search.plots import refuse_other_plots

    refuse_other_plots(plots)
    with (
        driving(results, plan.name) as drivers,
        storage_faults(place, DATABASE_ERRORS),
    ):
        with drivers.turn():
            storage = open_storage(options.storage, results.root, plan.name)
        running = Search(plan, storage, place, results, options.trials, _print_told, drivers)
        code = _run(plan, running, results, options)
        if code:
            return code
        try:
            conclude(plan, running.study, changes, plots)
        except NoBest as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return max(_report(plan, running, results, options), 2 if running.unread else 0)


def _run(plan: Plan, running: Search, results: Results, options: argparse.Namespace) -> int:
    """The search itself; its exit code."""
    from stvm.tune.run_search import run_search
    from stvm.tune.tasks import Interrupted

    print(f"{title(plan)}\nstudy {plan.name} in {running.place}")
    split = search_split(plan.base)
    if plan.score.oracle:
        print(f"oracle: trials are chosen by labels of the target's {split} split")
    if plan.same_split:
        print(f"search trials are measured on the split of the report, {split}")
    default = default_values(plan.parameters, plan.base)
    if not all(p.holds(default[p.name]) for p in plan.parameters):
        words = format_assignments(default)
        print(f"the default {words} lies outside the search range: not the first trial")
    refuse_other_files_of_search(plan, running.study, results, options.cache)
    print(f"{running.finished()} of {running.wanted} trials finished", flush=True)
    try:
        finished = run_search(running, results, options_of(options))
    except Interrupted:
        print(f"interrupted: {_progress(running)}; the same command goes on", file=sys.stderr)
        return 130
    finally:
        _study(plan, running, options)[0].write_manifest(results)
    print_errors(finished.errors)
    print_left_out(running.unread)
    print(_progress(running), flush=True)
    if running.left():
        print("the search is not finished: the same command goes on", file=sys.stderr)
        return 2 if running.unread else 1
    return 0


def _print_told(suggestion: Suggestion, news: str, state: TrialState) -> None:
    """Print a line for a suggestion whose result is already recorded."""
    print(f"{suggestion.label}  already known: {news}", flush=True)


def _progress(running: Search) -> str:
    counts = running.counts()
    states = ", ".join(f"{n} {name}" for name, n in counts.items())
    left = running.left()
    return f"{running.finished()} of {running.wanted} trials finished, {left} left ({states})"


def _study(
    plan: Plan, running: Search, options: argparse.Namespace
) -> tuple[Study, tuple[Trial, ...]]:
    """The search so far, and the trials of its report (none before there is a best setting)."""
    preset, seeds = find_preset(plan.preset), unique(options.seeds)
    facts = find_facts(plan, running.study, running.place, seeds)
    report: tuple[Trial, ...] = ()
    if facts["best"] is not None:
        realisations = unique(options.realisations or [preset.realisation])
        report = report_trials(plan, preset, facts["best"], seeds, realisations)
    return search_study(plan, running.study, facts, report), report


def _report(plan: Plan, running: Search, results: Results, options: argparse.Namespace) -> int:
    """Run the best setting and the default with the report's seeds; the exit code."""
    whole, report = _study(plan, running, options)
    study = replace(whole, trials=report)
    refuse_other_files_of(report, results, options.cache)
    if whole.facts["best"] == default_values(plan.parameters, plan.base):
        print("the default is the best setting found")
    code = run(study, results, options_of(options), options.retry_failed)
    if code != 130:
        compare(plan, results, report)
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code: 0, 1 after failures, 2 for bad input, 130 if stopped."""
    return run_command(search_parser(__doc__ or ""), search, arguments)


if __name__ == "__main__":
    sys.exit(main())
