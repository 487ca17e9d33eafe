"""The points of the figures are the records' figures in per cent, and the paper's as printed."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy import stats

from benchmarks.study_results import make_study
from reports.figures.curves import draw_fig1, draw_sensitivity
from reports.figures.dots import draw_bars
from reports.figures.objective_dots import draw_objectives
from reports.page.build_page import build_page
from reports.page.result_plots import objectives
from reports.tables import table4, table5
from reports.tables.chosen_studies import ChosenStudies
from reports.tables.fig1 import build_curve
from reports.tables.objective_rows import build_table as build_objectives
from stvm.errors import StvmError
from stvm.records.manifest import Manifest, Trial
from stvm.records.record import Record

NAMED = {"Oracle (target labels)": "Oracle"}
PAPER = Path(__file__).resolve().parents[2] / "reports" / "paper"


def study(root: Path, kind: str) -> tuple[Manifest, dict[Trial, Record | None]]:
    make_study(root, kind)
    manifest, records = ChosenStudies(root)[kind]
    return manifest, dict(records)


def per_cent(records: dict[Trial, Record | None], row: str) -> Any:
    found = [r.miou for t, r in records.items() if r and r.miou is not None and t.variant == row]
    return 100 * np.array(found)


def on_row(lines: Iterable[Line2D], place: int) -> dict[str, Any]:
    """What is drawn near a row: x of each marker."""
    drawn = {}
    for line in lines:
        y = np.asarray(line.get_ydata(), float)
        if line.get_linestyle() != ":" and len(y) and abs(y[0] - place) < 0.4:
            drawn[str(line.get_marker())] = np.asarray(line.get_xdata(), float)
    return drawn


def test_bars_are_trials_mean_and_t_interval_beside_the_published_mean(tmp_path: Path) -> None:
    manifest, records = study(tmp_path, "ablation")
    measured, paper = draw_bars(table4.build_table(manifest, records)).axes
    names = [label.get_text() for label in measured.get_yticklabels()]
    place = names.index("STvM")
    values = per_cent(records, "STvM")
    drawn = on_row(measured.lines, place)
    np.testing.assert_allclose(np.sort(drawn["o"]), np.sort(values))
    np.testing.assert_allclose(drawn["D"], [values.mean()])
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(drawn["|"], [interval.low, interval.high])
    squares = [float(line.get_xdata()[0]) for line in paper.lines if line.get_marker() == "s"]  # type: ignore[index, arg-type]
    with (PAPER / "table4.csv").open() as file:
        assert squares == [float(row["miou"]) for row in csv.DictReader(file)]
    assert [text.get_text() for text in paper.texts].count("not in the paper") == 3


def test_fig1_has_the_mean_of_each_share_and_the_source_as_a_line(tmp_path: Path) -> None:
    manifest, records = study(tmp_path, "pseudo_labels")
    (axes,) = draw_fig1(build_curve(manifest, records)).axes
    lines = {str(line.get_label()): line for line in axes.lines}
    mean, source = lines["self-training, mean"], lines["Source, mean"]
    assert list(mean.get_xdata()) == list(range(10, 101, 10))
    expected = [per_cent(records, str(share)).mean() for share in range(10, 101, 10)]
    np.testing.assert_allclose(np.asarray(mean.get_ydata(), float), expected)
    np.testing.assert_allclose(
        np.asarray(source.get_ydata(), float), per_cent(records, "Source").mean()
    )


def test_the_sensitivity_names_the_default_of_the_paper_and_its_level(tmp_path: Path) -> None:
    manifest, records = study(tmp_path, "hparam_grid")
    figure = draw_sensitivity(table5.build_table(manifest, records))
    panels = {axes.get_title(): axes for axes in figure.axes if axes.lines}
    with (PAPER / "table5.csv").open() as file:
        published = [row for row in csv.DictReader(file) if row["default"] == "1"]
    assert len(published) == len(panels) == 7
    for row in published:
        axes = panels[row["parameter"]]
        ticks = [label.get_text() for label in axes.get_xticklabels()]
        lines = {str(line.get_label()): line for line in axes.lines}
        (marked,) = lines["default of the paper"].get_xdata()  # type: ignore[misc]
        assert float(ticks[int(marked)]) == float(row["value"])
    level = per_cent(records, "alpha=2").mean()
    assert f"measured {level:.1f}, paper 54.0" in figure.get_suptitle()


@pytest.mark.parametrize("row", ["STvM_Raw", "ST_MT"])
def test_each_row_of_the_ablation_is_compared_with_the_one_above_it(
    row: str, tmp_path: Path
) -> None:
    """The parts are added one by one: ST, Aug, MT, MGS, MOCM."""
    manifest, records = study(tmp_path, "ablation")
    lines = {line.name: line for line in table4.build_table(manifest, records).lines}
    order = ["Source", "ST", "ST_Aug", "ST_MT", "STvM_Raw", "STvM"]
    assert [lines[name].above.name for name in order[1:]] == order[:-1]  # type: ignore[union-attr]
    assert lines["Source"].above is None and lines["AdaBN"].above is lines["Source"].measured
    above = order[order.index(row) - 1]
    expected = per_cent(records, row).mean() - per_cent(records, above).mean()
    assert 100 * (lines[row].delta.mean or 0) == pytest.approx(expected)


def test_table_8s_dots_are_trials_means_and_the_oracles_rate_from_the_best_row(
    tmp_path: Path,
) -> None:
    manifest, records = study(tmp_path, "objectives")
    table = build_objectives(manifest, records)
    figure = draw_objectives(table)
    (axes,) = figure.axes
    assert "realisations 0" in figure.get_suptitle() and axes.yaxis_inverted()
    names = [label.get_text() for label in axes.get_yticklabels()]
    means = {name: per_cent(records, NAMED.get(name, name)).mean() for name in names}
    assert names == sorted(names, key=lambda name: -means[name]) and len(names) == 10
    assert "Oracle (target labels)" in names
    assert [text.get_text() for text in axes.texts] == [f"{means[name]:.1f}" for name in names]
    drawn = on_row(axes.lines, names.index("MinEnt"))
    np.testing.assert_allclose(np.sort(drawn["o"]), np.sort(per_cent(records, "MinEnt")))
    np.testing.assert_allclose(drawn["D"], [means["MinEnt"]])
    np.testing.assert_allclose(drawn["^"], [per_cent(records, "MinEnt, oracle's rate").mean()])
    interval = stats.ttest_1samp(per_cent(records, "MinEnt"), 0).confidence_interval(0.95)
    np.testing.assert_allclose(drawn["|"], [interval.low, interval.high])
    faces = {
        name: next(
            line.get_markerfacecolor()
            for line in axes.lines
            if line.get_marker() == "D" and line.get_ydata()[0] == y  # type: ignore[index]
        )
        for y, name in enumerate(names)
    }
    assert [name for name in names if faces[name] == "white"] == ["MinEnt"]
    levels = [float(line.get_xdata()[0]) for line in axes.lines if line.get_linestyle() == ":"]  # type: ignore[index, arg-type]
    assert sorted(levels) == sorted(means[name] for name in ("Source", "AdaBN", "STvM"))
    plot = objectives(table)
    assert plot and f"best first: Oracle (target labels) {means[names[0]]:.1f}, STvM " in plot.html
    assert 'id="objectives-' in plot.html
    page = build_page(tmp_path)
    assert "Every row, the best first" in page and 'id="objectives-' in page


def test_rows_of_table_8_without_a_record_are_left_out(tmp_path: Path) -> None:
    manifest, records = study(tmp_path, "objectives")

    def drawn_without(variant: str) -> Axes:
        known = {t: None if t.variant == variant else r for t, r in records.items()}
        return draw_objectives(build_objectives(manifest, known)).axes[0]

    def names(axes: Axes) -> list[str]:
        return [label.get_text() for label in axes.get_yticklabels()]

    assert "MinEnt" not in names(drawn_without("MinEnt"))
    axes = drawn_without("MinEnt, oracle's rate")
    assert "^" not in on_row(axes.lines, names(axes).index("MinEnt"))
    none = build_objectives(manifest, dict.fromkeys(records))
    assert objectives(none) is None
    with pytest.raises(StvmError, match="no row has a record yet"):
        draw_objectives(none)
