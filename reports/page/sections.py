"""Sections of the page in the paper's order, each with its question, tables, plots and pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reports.page.pictures import Picture, Pictures, predictions, search_plots
from reports.page.recorded_studies import Recorded
from reports.page.result_plots import (
    class_dots,
    objectives,
    score_plots,
    sensitivity,
    share_curve,
)
from reports.page.svg import Plot
from reports.page.training_curves import collapse_watch, training_curves
from reports.sheets.sheet import Sheet
from reports.tables import (
    fig1,
    objective_rows,
    reading_costs,
    scenario_studies,
    score_ranking,
    table5,
)
from reports.tables.catalogue import build_tables
from reports.tables.chosen_studies import ChosenStudies
from stvm.errors import StvmError
from stvm.records.manifest import command
from stvm.records.passed_over import going_on


@dataclass(frozen=True)
class Part:
    """A piece of a section.

    Attributes:
        title: heading; empty for none.
        about: sentence below the heading; empty for none.
        sheet: table.
        plots: plots.
        predictions: predictions on test images.
        pictures: other pictures.
        fault: reason why the piece cannot be shown; empty where it can.
    """

    title: str = ""
    about: str = ""
    sheet: Sheet | None = None
    plots: Sequence[Plot] = ()
    predictions: Pictures | None = None
    pictures: Sequence[Picture] = ()
    fault: str = ""

    @property
    def empty(self) -> bool:
        shown = self.sheet or self.plots or self.predictions or self.pictures
        return not (shown or self.fault)


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        id: id in the page.
        title: heading.
        about: question that the section answers.
        command: command that would fill the section; empty where it is filled.
        parts: pieces from top to bottom.
    """

    id: str
    title: str
    about: str
    command: str
    parts: tuple[Part, ...]

    def shown_rule(self, place: int) -> str:
        """Rule of evaluation that the page has shown above the part at `place`."""
        rules = [part.sheet.rule for part in self.parts[:place] if part.sheet]
        return rules[-1] if rules else ""


SCORES = "scores"
"""Id of the section on scores, which has no study of its own."""


def _pictured(title: str, make: Callable[[], dict[str, Any]]) -> Part:
    """A part with pictures; where a file is damaged, the part names it in place of them."""
    try:
        return Part(title, **make())
    except StvmError as error:
        return Part(title, fault=str(error))


def _ablation(recorded: Recorded, chosen: ChosenStudies) -> list[Part]:
    study = chosen["ablation"][0]
    dots = class_dots(recorded, study)
    return [
        Part("IoU of each class", plots=[dots] if dots else []),
        _pictured("On test images", lambda: {"predictions": predictions(recorded, study)}),
        Part("Training curves", plots=training_curves(recorded, study)),
        Part(
            "Watch for collapse",
            "The effective number of classes is the exponential of the entropy of the shares of "
            "the predicted classes: a network that predicts one class alone has 1.",
            plots=collapse_watch(recorded, study),
        ),
    ]


def _hyperparameters(recorded: Recorded, chosen: ChosenStudies) -> list[Part]:
    plot = sensitivity(table5.build_table(*chosen["hparam_grid"]))
    return [Part("Measured beside published", plots=[plot] if plot else [])]


def _silhouettes(recorded: Recorded, chosen: ChosenStudies) -> list[Part]:
    return [Part("Training curves", plots=training_curves(recorded, chosen["silhouette"][0]))]


def _objectives(recorded: Recorded, chosen: ChosenStudies) -> list[Part]:
    plot = objectives(objective_rows.build_table(*chosen["objectives"]))
    return [Part("Every row, the best first", plots=[plot] if plot else [])]


def _shares(recorded: Recorded, chosen: ChosenStudies) -> list[Part]:
    plot = share_curve(fig1.build_curve(*chosen["pseudo_labels"]))
    return [Part(plots=[plot] if plot else [])]


def _scores(recorded: Recorded, chosen: ChosenStudies) -> list[Part]:
    """Plots of the group with the most trials."""
    found = score_ranking.groups(score_ranking.ranked_studies(chosen))
    largest = max(found, key=lambda group: len(group.done), default=None)
    if largest is None:
        return []
    about = f"Trials of: {largest.label}. Chosen and best: one of each realisation."
    return [Part("Each score against mIoU", about, plots=score_plots(largest))]


def _search(recorded: Recorded, chosen: ChosenStudies) -> list[Part]:
    name = chosen["search"][0].facts.get("study")
    return [_pictured("Optuna's plots", lambda: {"pictures": search_plots(recorded.root, name)})]


def _readings(recorded: Recorded, chosen: ChosenStudies) -> list[Part]:
    return [Part(sheet=reading_costs.sheet(*chosen["readings"]))]


def _nothing(recorded: Recorded, chosen: ChosenStudies) -> list[Part]:
    return []


@dataclass(frozen=True)
class SectionSpec:
    """A section that the page may have.

    Attributes:
        study: kind of study that it shows, or `SCORES`; it is the section's id too.
        title: heading.
        about: question that the section answers.
        tables: prefixes of the names of its tables.
        draw: function that makes the pieces beside the tables; some of them may be empty.
        drawn_first: whether these pieces stand above the tables.
    """

    study: str
    title: str
    about: str
    tables: tuple[str, ...]
    draw: Callable[[Recorded, ChosenStudies], list[Part]] = _nothing
    drawn_first: bool = False

    def is_run(self, chosen: ChosenStudies | None) -> bool:
        """Whether the results hold a study for it."""
        return self.study == SCORES or (chosen is not None and self.study in chosen)


SECTIONS = (
    SectionSpec(scenario_studies.STUDY, "Tables I to III: beside published methods",
         "The scenarios of the paper, measured here and as published. Published figures compete "
         "for bold and underline in these tables.",
         ("table1", "table2", "table3")),
    SectionSpec("ablation", "Table IV: what each part adds",
         "The source model, then self-training with one part more in each row.",
         ("table4",), _ablation),
    SectionSpec("hparam_grid", "Table V: hyperparameters",
         "Seven hyperparameters, one at a time around the preset's values; all else is fixed.",
         ("table5",), _hyperparameters),
    SectionSpec("variance", "Table VI: spread over seeds",
         "STvM with everything fixed but the seed.", ("table6",)),
    SectionSpec("silhouette", "Table VII: silhouette of the metric features",
         "How well the metric features separate the classes, over every pixel of every image.",
         ("table7",), _silhouettes),
    SectionSpec("objectives", "Table VIII: objectives of others",
         "Source-free losses of others from the same start, beside STvM and its ablation.",
         ("table8",), _objectives),
    SectionSpec("pseudo_labels", "Fig. 1: how many pseudo-labels",
         "Plain self-training on the most confident part of the predictions.",
         ("fig1",), _shares, drawn_first=True),
    SectionSpec(SCORES, "Choosing without labels",
         "How well scores that need no target label would choose among the recorded trials. "
         "mIoU itself is computed from target labels: to choose by it is an oracle.",
         ("scores",), _scores),
    SectionSpec("search", "Search by Optuna",
         "Settings suggested by Optuna; the best are run again on seeds the search never saw.",
         ("search",), _search),
    SectionSpec("readings", "Readings of the paper",
         "Where the paper is silent: each reading beside the default.",
         ("readings",), _readings),
)  # fmt: skip


def _table_parts(sheets: Sequence[Sheet]) -> list[Part]:
    """A part for each table; a single one has a heading only if its title warns."""
    headed = len(sheets) > 1 or any("tuned on" in sheet.title for sheet in sheets)
    return [Part(sheet.title if headed else "", sheet=sheet) for sheet in sheets]


def build_sections(recorded: Recorded, chosen: ChosenStudies | None) -> tuple[Section, ...]:
    """A section for each kind of study, run or not.

    Args:
        recorded: content of the results folder.
        chosen: studies to show; None where there is none.

    Raises:
        StvmError: something unreadable.
    """
    sheets = build_tables(chosen)[0] if chosen else []
    sections = []
    for spec in SECTIONS:
        parts = _table_parts([s for s in sheets if s.name.startswith(spec.tables)])
        run = spec.is_run(chosen)
        if chosen and run:
            drawn: list[Part] = []
            with going_on(chosen.passed_over):
                drawn = [part for part in spec.draw(recorded, chosen) if not part.empty]
            parts = drawn + parts if spec.drawn_first else parts + drawn
        wanted = "" if parts or run else command(spec.study)
        if parts or spec.study != SCORES:
            sections.append(Section(spec.study, spec.title, spec.about, wanted, tuple(parts)))
    return tuple(sections)
