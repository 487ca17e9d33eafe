"""`python studies/optuna_search.py`: a search for alpha, beta and T by a score without labels.

Optuna suggests, Ray Tune runs one trial a slot, and each trial is recorded as in every study. The
search may be stopped or killed: the same command continues it, and a larger --trials extends it.
The first trial is the default setting. Search trials use a seed of their own (--search-seed) and
the split val; at the end the best setting and the default are run over --seeds on the split of the
preset, and only these are compared.

--objective miou looks at target labels: an oracle. --pruner stops trials by a label-free score
on unlabelled images, never by mIoU. With one trial at a time the search repeats exactly; with more,
suggestions depend on the order in which trials end.

--retry-failed concerns the trials of the report. A search trial that failed counts as finished;
once its record is done, as after `python -m studies retry-failed`, the search learns its result.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import optuna
from optuna.trial import TrialState

from studies.cli import (
    check_machine,
    options_of,
    positive,
    print_errors,
    refuse_other_files_of,
    renaming,
    run,
    run_command,
    study_parser,
    whole_number,
)
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
from stvm.errors import StvmError
from stvm.files import checked_name, refuse_file
from stvm.records.label_free_objectives import OBJECTIVES, find_objective
from stvm.records.results import Results
from stvm.search.drivers import driving
from stvm.search.plan import NoBest, Plan, Suggestion
from stvm.search.search import Search
from stvm.search.space import (
    DEFAULT_PARAMETERS,
    default_values,
    find_parameters,
    format_assignments,
    search_split,
    searchable,
)
from stvm.search.storage import (
    DATABASE_ERRORS,
    PRUNERS,
    SAMPLERS,
    find_name,
    open_storage,
    storage_faults,
    storage_file,
    storage_place,
)
from stvm.settings.presets import find_preset
from stvm.study import Study, Trial
from stvm.tune.consent import refuse_missing_files

DEFAULT_OBJECTIVE = "agreement"
REPORT_SEEDS = [0, 1, 2, 3, 4]
SEARCH_SEED = 1000


def parser() -> argparse.ArgumentParser:
    """The options of every study and those of a search."""
    options = study_parser(__doc__ or "", REPORT_SEEDS)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    add = options.add_argument_group("search").add_argument
    add("--trials", type=positive, default=30, metavar="N", help="finished trials in all (30)")
    add("--objective", default=DEFAULT_OBJECTIVE, help=f"{', '.join(OBJECTIVES)}; miou: an oracle")
    add(
        "--parameters",
        nargs="+",
        default=list(DEFAULT_PARAMETERS),
        metavar="SETTING",
        help=f"of {', '.join(searchable())}",
    )
    add("--sampler", default="tpe", help=f"one of {', '.join(SAMPLERS)}")
    add(
        "--sampler-seed",
        type=whole_number,
        default=0,
        metavar="N",
        help="seed of the suggestions (0)",
    )
    add("--pruner", default="none", help=f"one of {', '.join(PRUNERS)}")
    add(
        "--search-seed",
        type=whole_number,
        default=SEARCH_SEED,
        metavar="N",
        help=f"seed of the search trials ({SEARCH_SEED}), none of --seeds",
    )
    add(
        "--search-realisation",
        type=whole_number,
        metavar="N",
        help="of the embedded benchmark, for the search trials",
    )
    add("--storage", metavar="URL", help="of Optuna, or a .db or .log file; else below --results")
    add("--name", default="", help="of the study; else made from what is searched")
    return options


def build_plan(options: argparse.Namespace, changes: dict[str, str]) -> Plan:
    """What is searched.

    Raises:
        StvmError: a name that does not exist, a seed that search and report share.
    """
    preset = find_preset(options.preset)
    for name, option in (("seed", "--seeds, --search-seed"), ("realisation", "--realisations")):
        if name in changes:
            raise StvmError(f"'{name}' is what this study varies: leave it out, use {option}")
    if options.search_seed in options.seeds:
        raise StvmError(
            f"--search-seed {options.search_seed} is one of --seeds: what is chosen on a seed "
            "must be reported on others"
        )
    base = preset.settings(**changes)
    if base.data.dataset != "streets" and (
        options.realisations or options.search_realisation is not None
    ):
        raise StvmError("realisations are draws of the embedded benchmark: leave them out")
    asked = options.search_realisation
    realisation = preset.realisation if asked is None else asked
    return Plan(
        preset=options.preset,
        base=base,
        parameters=find_parameters(options.parameters, base),
        objective=find_objective(options.objective),
        sampler=find_name(options.sampler, SAMPLERS, "sampler"),
        sampler_seed=options.sampler_seed,
        pruner=find_name(options.pruner, PRUNERS, "pruner"),
        seed=options.search_seed,
        realisation=realisation,
        tuned=realisation in preset.tuned,
        given_name=options.name and checked_name(options.name, "--name"),
    )


def search(options: argparse.Namespace, changes: dict[str, str]) -> int:
    """List, or search and report; the exit code."""
    refuse_file(options.results, "--results")
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
        folder = results.root / "searches" / plan.name
        try:
            conclude(plan, running.study, changes, folder)
        except NoBest as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return _report(plan, running, results, options)


def _run(plan: Plan, running: Search, results: Results, options: argparse.Namespace) -> int:
    """The search itself; its exit code."""
    from stvm.tune.run_search import run_search
    from stvm.tune.tasks import Interrupted

    print(f"{title(plan)}\nstudy {plan.name} in {running.place}")
    split = search_split(plan.base)
    if plan.objective.oracle:
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
    print(_progress(running), flush=True)
    if running.left():
        print("not a result of the trials: the same command goes on", file=sys.stderr)
        return 1
    return 0


def _print_told(suggestion: Suggestion, news: str, state: TrialState) -> None:
    """A line for a suggestion that needed no run, before there is anything else to show."""
    print(f"{suggestion.label}  already known: {news}", flush=True)


def _progress(running: Search) -> str:
    counts = running.counts()
    states = ", ".join(f"{n} {name}" for name, n in counts.items())
    left = running.left()
    return f"{running.finished()} of {running.wanted} trials finished, {left} left ({states})"


def _study(
    plan: Plan, running: Search, options: argparse.Namespace
) -> tuple[Study, tuple[Trial, ...]]:
    """The search as it stands, and the trials of its report: none before there is a best."""
    preset, seeds = find_preset(plan.preset), unique(options.seeds)
    facts = find_facts(plan, running.study, running.place, seeds)
    report: tuple[Trial, ...] = ()
    if facts["best"] is not None:
        realisations = unique(options.realisations or [preset.realisation])
        report = report_trials(plan, preset, facts["best"], seeds, realisations)
    return search_study(plan, running.study, facts, report), report


def _report(plan: Plan, running: Search, results: Results, options: argparse.Namespace) -> int:
    """Best and default over the seeds of the report; the exit code."""
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
    """The command; returns its exit code: 0, 1 failures, 2 bad input, 130 stopped."""
    return run_command(parser(), search, arguments)


if __name__ == "__main__":
    sys.exit(main())
