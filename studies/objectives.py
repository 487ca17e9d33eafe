"""`python studies/objectives.py`: objectives of others beside STvM and its ablation.

Question: Table VIII: what do objectives of others give from the same start?
Command: python studies/objectives.py
Cost: 9 and, for each row with a chosen rate, 4 or 5 trials, 57 min
Expected: docs/results.md, "Table VIII: objectives of others"

Learning rates do not carry over from one objective to another. So each row has three to choose
from, and the study has two stages. The first runs the rates on a seed and a realisation that no
row reports (--choice-seed, --choice-realisation) and chooses by a score without labels (--score).
The second runs the rows. The rate that target labels would choose (an oracle) is a row of its own;
if both rates are the same, it costs nothing. Both stages can be stopped: the same command goes on.

STvM has a row with a rate chosen in the same way, beside the row with the preset's rate.
`--rows ROW` takes some objectives only, `--without ROW` leaves a row out, such as AdaBN and TENT
for a network without batch norm.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

from studies import ablation
from studies.arguments import whole_number
from studies.cli import print_left_out, renaming, run_command, run_study
from studies.objective_plan import (
    CHOICE_REALISATION,
    CHOICE_SEED,
    SCORE,
    Candidate,
    Plan,
    all_candidates,
    rows_as_settings,
    rows_named,
)
from studies.rate_choice import Choice
from studies.study_options import study_parser
from stvm.errors import StvmError, as_known, unknown
from stvm.records.results import Results
from stvm.records.results_folder import refuse_part_of_results
from stvm.records.selection_scores import SELECTION_SCORES, SelectionScore
from stvm.settings.peers import PEERS, fields_of
from stvm.settings.presets import find_preset
from stvm.study import Rename

TABLE4 = (*ablation.BASELINES, *ablation.VARIANTS)


def choose_candidates(
    candidates: Sequence[Candidate], rows: Sequence[str], without: Sequence[str]
) -> tuple[Candidate, ...]:
    """The candidates that are asked for.

    Args:
        candidates: all rows whose rate is chosen.
        rows: names of those to take; all if empty.
        without: names of rows to leave out, those of Table IV among them.

    Raises:
        StvmError: an unknown row.
    """
    names = [candidate.row for candidate in candidates]
    taken = [found for row in rows for found in rows_named(row, candidates)] or names
    left = [found for row in without for found in rows_named(row, candidates, TABLE4)]
    return tuple(c for c in candidates if c.row in taken and c.row not in left)


def find_score(name: str) -> SelectionScore:
    """The score to choose by; capitals do not count.

    Raises:
        StvmError: an unknown one, or one that reads target labels.
    """
    others = [n for n, other in SELECTION_SCORES.items() if not other.oracle]
    score = SELECTION_SCORES.get(as_known(name, SELECTION_SCORES))
    if score is None:
        raise unknown("score", name, others)
    if score.oracle:
        raise StvmError(
            f"--score {name} reads target labels, and its choice is a row of its own: name one of "
            f"{', '.join(others)}"
        )
    return score


def choice_realisation(options: argparse.Namespace, changes: Mapping[str, str]) -> int | None:
    """The realisation of the choice; None for data that have none.

    Raises:
        StvmError: seed or realisation of the choice is one of those that rows report.
    """
    preset = find_preset(options.preset)
    number: int | None = options.choice_realisation
    if preset.settings(**changes).data.dataset != "streets":
        if number is not None:
            raise StvmError(
                "--choice-realisation is a draw of the embedded benchmark: leave it out with "
                "dataset=folder"
            )
    elif number is None:
        number = next(iter(preset.tuned), CHOICE_REALISATION)
    reported = {"seed": options.seeds, "realisation": options.realisations or [preset.realisation]}
    for name, value in (("seed", options.choice_seed), ("realisation", number)):
        if value in reported[name]:
            raise StvmError(
                f"--choice-{name} {value} is one of --{name}s: a rate must be chosen on a {name} "
                "that no row reports"
            )
    return number


def refuse_unused(own: Mapping[str, str], candidates: Sequence[Candidate]) -> None:
    """Refuse settings of an objective that no row uses.

    Raises:
        StvmError: there is one; the message says which rows use it.
    """
    used = {name for candidate in candidates for name in candidate.changes}
    for name in own:
        if name not in used:
            rows = [c.row for c in all_candidates(own) if name in c.changes]
            raise StvmError(
                f"{name} has no effect on the rows that are asked for: leave it out, or add "
                + " or ".join(rows)
            )


def build_plan(options: argparse.Namespace, changes: dict[str, str], rename: Rename) -> Plan:
    """The plan that a command line describes.

    Raises:
        StvmError: an unknown row, score or setting, a setting that no row uses, or a seed or
            realisation that serves both the choice and the rows.
    """
    owned = {name for peer in PEERS for name in fields_of(peer)}
    own = {name: value for name, value in changes.items() if name in owned}
    common = {name: value for name, value in changes.items() if name not in owned}
    candidates = choose_candidates(all_candidates(own), options.rows or (), options.without)
    refuse_unused(own, candidates)
    return Plan(
        options.preset,
        common,
        own,
        candidates,
        tuple(row for row in TABLE4 if row.lower() in map(str.lower, options.without)),
        find_score(options.score),
        options.choice_seed,
        choice_realisation(options, common),
        rename,
    )


def refuse_rates_of_rows(options: argparse.Namespace, assignments: list[str]) -> None:
    """Refuse a rate beside the name of a row: this study chooses the rates.

    Raises:
        StvmError: there is one, or --rows has no value.
    """
    rows = options.rows or []
    wrong = [*rows_as_settings([*assignments, *rows]), *(row for row in rows if ":" in row)]
    if wrong or options.rows == []:
        mend = f"leave the rate out of {wrong[0]}" if wrong else "name rows"
        raise StvmError(
            "--rows takes names alone, as in --rows CBST LD, since this study chooses the learning "
            f"rates: {mend}, or use studies/scenarios.py --rows ROW:RATE"
        )


def act(options: argparse.Namespace, changes: dict[str, str]) -> int:
    """Run or list both stages; the exit code."""
    refuse_part_of_results(options.results)
    results = Results(options.results)
    plan = build_plan(options, changes, renaming(results, options.cache))
    code = run_study(plan.rate_study(), options)
    if code == 130:
        return code
    unread: list[str] = []
    choices = plan.choices(results, unread)
    if unread:
        print_left_out([f"{', '.join(unread)}: a record of their rates cannot be read"])
    left = [row for row, choice in choices.items() if choice is None and row not in unread]
    if left and not options.list:
        print(f"error: no rate is chosen yet for {', '.join(left)}: some trials of their rates "
              "have no record; the same command goes on", file=sys.stderr)  # fmt: skip
        return 1
    print(describe_choices(choices, plan.score), flush=True)
    study = plan.report_study(choices, options.seeds, options.realisations)
    return max(code, run_study(study, options))


def describe_choices(choices: Mapping[str, Choice | None], score: SelectionScore) -> str:
    """One line for each row: the rate chosen without labels, and the oracle's."""
    lines = [f"Learning rates chosen by {score.label}, and by target labels (oracle):"]
    for row, choice in choices.items():
        told = f"lr={choice.rate:g}, oracle lr={choice.oracle:g}" if choice else "not chosen yet"
        lines.append(f"  {row:32s}  {told}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = study_parser(__doc__ or "", (0,))
    add = parser.add_argument
    add(
        "--rows",
        nargs="*",
        metavar="ROW",
        help="objectives to take (all): " + ", ".join(c.row for c in all_candidates()),
    )
    add(
        "--without",
        action="append",
        default=[],
        metavar="ROW",
        help="leave a row out, as in --without AdaBN --without TENT; can be repeated",
    )
    add(
        "--score",
        default=SCORE,
        help=f"score without labels that chooses the learning rates ({SCORE})",
    )
    add(
        "--choice-seed",
        type=whole_number,
        default=CHOICE_SEED,
        metavar="N",
        help=f"seed of the trials that choose ({CHOICE_SEED}); it may not be one of --seeds",
    )
    add(
        "--choice-realisation",
        type=whole_number,
        metavar="N",
        help="draw of the embedded benchmark for the trials that choose (the first that the preset "
        "was tuned on); it may not be one of --realisations",
    )
    return run_command(parser, act, arguments, refuse_rates_of_rows)


if __name__ == "__main__":
    sys.exit(main())
