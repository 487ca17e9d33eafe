"""The page's sections, in the paper's order: what each asks, its tables, plots and pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reports.page.pictures import Picture, Pictures, predictions, search_plots
from reports.page.recorded_studies import Recorded
from reports.page.result_plots import class_dots, score_plots, sensitivity, share_curve
from reports.page.svg import Plot
from reports.page.training_curves import collapse_watch, training_curves
from reports.sheets.sheet import Sheet
from reports.tables import fig1, reading_costs, scenario_studies, score_ranking, table5
from reports.tables.catalogue import build_tables
from reports.tables.chosen_studies import ChosenStudies
from stvm.errors import StvmError
from stvm.records.manifest import Manifest, command


@dataclass(frozen=True)
class Part:
    """A piece of a section under a heading of its own, if it has one.

    Attributes:
        fault: why what belongs here cannot be shown.
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
        about: the question it answers.
        command: that would fill it; empty where it is filled.
    """

    id: str
    title: str
    about: str
    command: str
    parts: tuple[Part, ...]

    def shown_rule(self, place: int) -> str:
        """The rule that stands above the part at `place` already."""
        rules = [part.sheet.rule for part in self.parts[:place] if part.sheet]
        return rules[-1] if rules else ""


@dataclass(frozen=True)
class Kind:
    """A kind of study in the page.

    Attributes:
        study: its name in manifests.
        sheets: what the names of its tables begin with.
    """

    study: str
    title: str
    about: str
    sheets: str | tuple[str, ...]


_SCORES = "scores"
"""Not a study of its own: it looks at the trials of all."""

KINDS = (
    Kind(scenario_studies.STUDY, "Tables I to III: beside published methods",
         "The scenarios of the paper, measured here and as published. Published figures compete "
         "for bold and underline in these tables.",
         ("table1", "table2", "table3")),
    Kind("ablation", "Table IV: what each part adds",
         "The source model, then self-training with one part more in each row.",
         "table4"),
    Kind("hparam_grid", "Table V: hyperparameters",
         "Seven hyperparameters, one at a time around the preset's values; all else is fixed.",
         "table5"),
    Kind("variance", "Table VI: spread over seeds",
         "STvM with everything fixed but the seed.", "table6"),
    Kind("silhouette", "Table VII: silhouette of the metric features",
         "How well the metric features separate the classes, over every pixel of every image.",
         "table7"),
    Kind("pseudo_labels", "Fig. 1: how many pseudo-labels",
         "Plain self-training on the most confident part of the predictions.",
         "fig1"),
    Kind(_SCORES, "Choosing without labels",
         "How well scores that need no target label would choose among the recorded trials. "
         "mIoU itself is computed from target labels: to choose by it is an oracle.",
         "scores"),
    Kind("search", "Search by Optuna",
         "Settings suggested by Optuna; the best are run again on seeds the search never saw.",
         "search"),
    Kind("readings", "Readings of the paper",
         "Where the paper is silent: each reading beside the default.",
         "readings"),
)  # fmt: skip


def _pictured(title: str, make: Callable[[], dict[str, Any]]) -> Part:
    """A part of pictures; a file of theirs that is damaged is named in their place."""
    try:
        return Part(title, **make())
    except StvmError as error:
        return Part(title, fault=str(error))


def _ablation(recorded: Recorded, study: Manifest) -> list[Part]:
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


def _scores(chosen: ChosenStudies) -> list[Part]:
    """Of the group with the most trials."""
    found = score_ranking.groups(score_ranking.ranked_studies(chosen))
    largest = max(found, key=lambda group: len(group.done), default=None)
    if largest is None:
        return []
    about = f"Trials of: {largest.label}. Chosen and best: one of each realisation."
    return [Part("Each score against mIoU", about, plots=score_plots(largest))]


def _search(recorded: Recorded, chosen: ChosenStudies) -> list[Part]:
    if "search" not in chosen:
        return []
    name = chosen["search"][0].facts.get("study")
    return [_pictured("Optuna's plots", lambda: {"pictures": search_plots(recorded.root, name)})]


def _drawn(recorded: Recorded, chosen: ChosenStudies, kind: str) -> list[Part]:
    """What a section shows beside its tables; some of it may be empty."""
    if kind == _SCORES:
        return _scores(chosen)
    if kind == "search":
        return _search(recorded, chosen)
    if kind not in chosen:
        return []
    if kind == "readings":
        return [Part(sheet=reading_costs.sheet(*chosen[kind]))]
    if kind == "ablation":
        return _ablation(recorded, chosen[kind][0])
    if kind == "hparam_grid":
        plot = sensitivity(table5.build_table(*chosen[kind]))
        return [Part("Measured beside published", plots=[plot] if plot else [])]
    if kind == "pseudo_labels":
        plot = share_curve(fig1.build_curve(*chosen[kind]))
        return [Part(plots=[plot] if plot else [])]
    if kind == "silhouette":
        return [Part("Training curves", plots=training_curves(recorded, chosen[kind][0]))]
    return []


def _table_parts(sheets: Sequence[Sheet]) -> list[Part]:
    """A heading for each of several; for a single one only if its title warns."""
    headed = len(sheets) > 1 or any("tuned on" in sheet.title for sheet in sheets)
    return [Part(sheet.title if headed else "", sheet=sheet) for sheet in sheets]


def build_sections(recorded: Recorded, chosen: ChosenStudies | None) -> tuple[Section, ...]:
    """A section for each kind of study, run or not.

    Args:
        recorded: the results folder.
        chosen: its studies; None where there is none.

    Raises:
        StvmError: something unreadable.
    """
    sheets = build_tables(chosen)[0] if chosen else []
    sections = []
    for kind in KINDS:
        parts = _table_parts([s for s in sheets if s.name.startswith(kind.sheets)])
        if chosen:
            drawn = [part for part in _drawn(recorded, chosen, kind.study) if not part.empty]
            parts = drawn + parts if kind.study == "pseudo_labels" else parts + drawn
        listed = kind.study == _SCORES or (chosen is not None and kind.study in chosen)
        wanted = "" if parts or listed else command(kind.study)
        if parts or kind.study != _SCORES:
            sections.append(Section(kind.study, kind.title, kind.about, wanted, tuple(parts)))
    return tuple(sections)
