"""`python studies/optuna_search.py`: a search for alpha, beta and T by a score without labels.

Optuna suggests, Ray Tune runs one trial a slot, and each trial is recorded as in every study. The
search may be stopped or killed: the same command continues it, and a larger --trials extends it.
The first trial is the default setting. Search trials use a seed of their own (--search-seed) and
the split val; at the end the best setting and the default are run over --seeds on the split of the
preset, and only these are compared.

--objective miou looks at target labels: an oracle. --pruner stops trials by a label-free score
on unlabelled images, never by mIoU. With one trial at a time the search repeats exactly; with more,
suggestions depend on the order in which trials end.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import optuna

from studies.command import ASSIGNMENT, positive, refuse_other_files_of, study_parser, whole_number
from studies.listing import unique
from studies.search_report import (
    compare,
    conclude,
    find_facts,
    list_search,
    report_trials,
    search_study,
    title,
)
from stvm.cluster import Machine
from stvm.errors import StvmError
from stvm.execute import Interrupted, execute
from stvm.objectives import OBJECTIVES, find_objective
from stvm.presets import find_preset
from stvm.records import Results
from stvm.search import Search
from stvm.search_plan import NoBest, Plan
from stvm.search_space import (
    DEFAULT_PARAMETERS,
    Values,
    default_values,
    find_parameters,
    search_split,
    searchable,
    words,
)
from stvm.search_storage import (
    DATABASE_ERRORS,
    PRUNERS,
    SAMPLERS,
    find_name,
    only_driver,
    open_storage,
    storage_faults,
    storage_file,
    storage_place,
)
from stvm.search_tune import print_told, run_search
from stvm.settings import parse_assignments

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
        given_name=options.name,
    )


def search(options: argparse.Namespace, changes: dict[str, str]) -> int:
    """List, or search and report; the exit code."""
    plan, results = build_plan(options, changes), Results(options.results)
    place = storage_place(options.storage, results.root, plan.name)
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
    machine = Machine(
        options.cpus_per_trial,
        options.gpus_per_trial,
        options.address,
        options.cache,
        options.tensorboard,
    )
    with only_driver(results.root, plan.name), storage_faults(place, DATABASE_ERRORS):
        storage = open_storage(options.storage, results.root, plan.name)
        running = Search(plan, storage, place, results, options.trials, print_told)
        code = _run(plan, running, results, machine, place, options.seeds)
        if code:
            return code
        folder = results.root / "searches" / plan.name
        try:
            best = conclude(plan, running.study, changes, folder)
        except NoBest as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return _report(plan, running, results, machine, best, options, place)


def _run(
    plan: Plan,
    running: Search,
    results: Results,
    machine: Machine,
    place: str,
    seeds: Sequence[int],
) -> int:
    """The search itself; its exit code."""
    print(f"{title(plan)}\nstudy {plan.name} in {place}")
    if plan.objective.oracle:
        print(
            f"oracle: trials are chosen by labels of the target's {search_split(plan.base)} split"
        )
    if search_split(plan.base) != "val":
        print("no target split val: search trials are measured on the split of the report")
    default = default_values(plan.parameters, plan.base)
    if not all(p.holds(default[p.name]) for p in plan.parameters):
        print(f"the default {words(default)} lies outside the search range: not the first trial")
    print(f"{running.finished()} of {running.wanted} trials finished", flush=True)
    try:
        finished = run_search(running, results, machine)
    except Interrupted:
        print(f"interrupted: {_progress(running)}; the same command goes on", file=sys.stderr)
        return 130
    finally:
        facts = find_facts(plan, running.study, place, seeds)
        search_study(plan, running.study, facts).write_manifest(results)
    for error, count in Counter(finished.errors).items():
        print(f"error: {error}{f' ({count} times)' if count > 1 else ''}", file=sys.stderr)
    print(_progress(running), flush=True)
    if running.left():
        print("not a result of the trials: the same command goes on", file=sys.stderr)
        return 1
    return 0


def _progress(running: Search) -> str:
    counts = running.counts()
    states = ", ".join(f"{n} {name}" for name, n in counts.items())
    left = running.left()
    return f"{running.finished()} of {running.wanted} trials finished, {left} left ({states})"


def _report(
    plan: Plan,
    running: Search,
    results: Results,
    machine: Machine,
    best: Values,
    options: argparse.Namespace,
    place: str,
) -> int:
    """Best and default over the seeds of the report; the exit code."""
    preset = find_preset(plan.preset)
    realisations = unique(options.realisations or [preset.realisation])
    seeds = unique(options.seeds)
    facts = find_facts(plan, running.study, place, seeds)
    study = search_study(plan, running.study, facts)
    study = replace(study, trials=report_trials(plan, preset, best, seeds, realisations))
    refuse_other_files_of(study, results)
    if best == default_values(plan.parameters, plan.base):
        print("the default is the best setting found")
    try:
        finished = execute(study, results, machine, options.retry_failed)
    except Interrupted:
        left = len(study.missing(results))
        print(f"interrupted: {left} trials of the report left; the same command goes on")
        return 130
    for error in dict.fromkeys(finished.errors):
        print(f"error: {error}", file=sys.stderr)
    compare(plan, results, study.trials)
    states = [
        (results.read(trial.hash) or {"status": "missing"})["status"] for trial in study.trials
    ]
    return 0 if set(states) == {"done"} else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0, 1 failures, 2 bad input, 130 stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    assignments = [item for item in given if ASSIGNMENT.match(item)]
    options = parser().parse_args([item for item in given if item not in assignments])
    try:
        return search(options, parse_assignments(assignments))
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except StvmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
