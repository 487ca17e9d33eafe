"""The two stages of `studies/objectives.py`: the rates to choose from, and the rows with them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from studies import ablation
from studies.rate_choice import Choice, choose
from studies.study_builder import StudyBuilder, evaluation_rule
from stvm.errors import StvmError, as_known, unknown
from stvm.records.passed_over import going_on
from stvm.records.results import Results
from stvm.records.selection_scores import SELECTION_SCORES, SelectionScore
from stvm.records.trial_label import ORACLE
from stvm.search.space import search_split
from stvm.settings import Settings
from stvm.settings.idle_values import idle_with
from stvm.settings.naming import digest
from stvm.settings.peer_limits import expected
from stvm.settings.peers import PEERS, fields_of
from stvm.study import Rename, Study, Trial

SCORE = "information_maximisation"
"""Score to choose by. Of the scores it alone falls when predictions collapse to one class."""
CHOICE_SEED = 1000
CHOICE_REALISATION = 1000
"""Realisation of the choice for presets that were tuned on none."""
_VARIED = ("adabn_share",)


@dataclass(frozen=True)
class Candidate:
    """A row whose learning rate is chosen.

    Attributes:
        row: name of the row.
        changes: settings that make it.
        multiples: rates to choose from, as multiples of the rate that the trial has otherwise.
    """

    row: str
    changes: Mapping[str, Any]
    multiples: tuple[float, ...]

    def tried(self, base: Settings) -> dict[float, Settings]:
        """Settings of the row with each of its rates."""
        own = base.replace(**self.changes)
        rates = [float(f"{own.training.lr * multiple:.4g}") for multiple in self.multiples]
        return {rate: own.replace(lr=rate) for rate in rates}


def all_candidates(given: Mapping[str, str] | None = None) -> list[Candidate]:
    """A candidate for each row of each objective, and one for STvM.

    Args:
        given: settings of objectives that the user gives; each goes to the rows it belongs to.
    """
    rows = [
        Candidate(row, {"procedure": name} | dict(changes), peer.rates)
        for name, peer in PEERS.items()
        for row, changes in _changes_of_rows(name, given or {}).items()
    ]
    return [*rows, Candidate("STvM (chosen rate)", ablation.VARIANTS["STvM"], (0.3, 1.0, 3.0))]


def rows_as_settings(words: Sequence[str]) -> list[str]:
    """Words NAME=VALUE whose NAME is a row of an objective, whatever its capitals."""
    names = {candidate.row.lower() for candidate in all_candidates()}
    return [word for word in words if "=" in word and word.partition("=")[0].lower() in names]


def rows_named(
    asked: str, candidates: Sequence[Candidate], others: Sequence[str] = ()
) -> list[str]:
    """The row of a name, or all rows of a procedure; capitals do not count.

    Args:
        asked: name of the row or of the procedure.
        candidates: rows to find it among.
        others: names of further rows.

    Raises:
        StvmError: an unknown row.
    """
    names = [*others, *(candidate.row for candidate in candidates)]
    row = as_known(asked, names)
    if row in names:
        return [row]
    found = [c.row for c in candidates if c.changes.get("procedure") == asked.lower()]
    if not found:
        if "," in asked and not others:
            raise StvmError(f"'{asked}' is no row: separate rows by spaces, as in --rows CBST LD")
        raise unknown("row", asked, names)
    return found


def _changes_of_rows(procedure: str, given: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Settings of each row of an objective, without a given one that only other rows use.

    A given one that no row uses stays, so that the settings refuse it and say why.
    """
    own: dict[str, Any] = {n: value for n, value in given.items() if n in fields_of(procedure)}
    usual, named = expected(procedure), PEERS[procedure].rows or {procedure: {}}
    rows = {row: own | dict(changes) for row, changes in named.items()}
    idle = {row: {name for name, _ in idle_with(usual | values)} for row, values in rows.items()}
    nowhere = set.intersection(*idle.values())
    return {
        row: {n: v for n, v in values.items() if n not in idle[row] or n in nowhere}
        for row, values in rows.items()
    }


@dataclass(frozen=True)
class Plan:
    """The study as it is asked for.

    Attributes:
        preset: name of the preset.
        changes: settings given by the user for all rows.
        own: settings given by the user that belong to single objectives.
        candidates: rows whose rates are chosen.
        without: rows of Table IV that are left out.
        score: score without labels to choose by.
        seed: seed of the choice.
        realisation: realisation of the choice; None for the only one.
        rename: function that completes the settings of a trial on a user's own files.
    """

    preset: str
    changes: dict[str, str]
    own: dict[str, str]
    candidates: tuple[Candidate, ...]
    without: tuple[str, ...] = ()
    score: SelectionScore = SELECTION_SCORES[SCORE]
    seed: int = CHOICE_SEED
    realisation: int | None = None
    rename: Rename = lambda settings: settings

    def rate_study(self) -> Study:
        """The first stage: each rate of each row on the seed and the realisation of the choice."""
        asked = None if self.realisation is None else [self.realisation]
        builder = StudyBuilder(self.preset, self.changes, asked, _VARIED)
        (number,) = builder.numbers
        here = builder.at(number).replace(seed=self.seed, eval_split=search_split(builder.settings))
        trials = [
            builder.trial(f"{candidate.row}, lr={rate:g}", self.seed, number, settings)
            for candidate in self.candidates
            for rate, settings in candidate.tried(here).items()
        ]
        study = builder.study("objective_rates", 0, "Learning rates of objectives", trials)
        study = replace(study, rule=evaluation_rule(here))
        return self._based(study, seed=self.seed, realisation=number)

    def choices(self, results: Results, passed_over: list[str]) -> dict[str, Choice | None]:
        """The choice for each row by name; None while trials of its rates have no record.

        Args:
            results: folder of the records.
            passed_over: list for the name of each row with a record that cannot be read, which
                then has no choice.
        """
        trials = iter(self.rate_study().trials)
        found: dict[str, Choice | None] = {}
        for candidate in self.candidates:
            rows = [next(trials) for _ in candidate.multiples]
            found[candidate.row] = None
            wrong: list[str] = []
            with going_on(wrong):
                tried = {t.settings.training.lr: results.read(t.hash) for t in rows}
                found[candidate.row] = choose(tried, self.score)
            if wrong:
                passed_over.append(candidate.row)
        return found

    def report_study(
        self,
        choices: Mapping[str, Choice | None],
        seeds: Sequence[int],
        realisations: Sequence[int] | None,
    ) -> Study:
        """The second stage: the rows of Table IV, and the objectives with their chosen rates."""
        builder = StudyBuilder(self.preset, self.changes, realisations, _VARIED)
        study = ablation.build_study(
            self.preset, self.changes, seeds, realisations, without=self.without
        )
        rates = self.rate_study()
        trials = (*study.trials, *self._chosen(builder, choices, seeds))
        facts = {
            "score": self.score.name,
            "choice_seed": self.seed,
            "choice_realisation": rates.trials[0].realisation if rates.trials else None,
            "choice_split": search_split(builder.settings),
            "rates": rates.base,
            "grid_ends": self._grid_ends(builder.settings),
            "tuned": list(builder.preset.tuned),
        }
        study = replace(
            study,
            name="objectives",
            table=8,
            title=study.title.replace("Ablation", "Objectives of others", 1),
            trials=trials,
            facts=facts,
        )
        return self._based(study, rates=rates.base, score=self.score.name)

    def _grid_ends(self, settings: Settings) -> dict[str, list[float]]:
        """Lowest and highest rate from which each row chooses."""
        tried = {candidate.row: candidate.tried(settings) for candidate in self.candidates}
        return {row: [min(rates), max(rates)] for row, rates in tried.items()}

    def _chosen(
        self, builder: StudyBuilder, choices: Mapping[str, Choice | None], seeds: Sequence[int]
    ) -> Iterator[Trial]:
        """Trials of the chosen rates, then those of the oracle's, which only fill a column."""
        chosen = [(c, choice) for c in self.candidates if (choice := choices.get(c.row))]
        for end in ("", ORACLE):
            for number, seed, here in builder.seeded(seeds):
                for candidate, choice in chosen:
                    rate = choice.oracle if end else choice.rate
                    settings = candidate.tried(here)[rate]
                    yield builder.trial(f"{candidate.row}{end}", seed, number, settings)

    def _based(self, study: Study, **choice: Any) -> Study:
        """The study on named files, with a base that tells one way to choose from another."""
        study = study.renamed(self.rename)
        base = digest({"base": study.base, "own": self.own, **choice})
        return replace(study, base=base, shared=None)
