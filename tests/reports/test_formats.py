"""Sheets as Markdown, LaTeX and CSV, and the figures made from the same studies."""

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from benchmarks.study_results import make_results, make_study
from reports.figures.curves import draw_fig1, draw_sensitivity
from reports.figures.dots import draw_silhouette, draw_variance
from reports.figures.png import refuse_other_figure, save
from reports.figures.samples import SHOWN, Sample, draw_grid
from reports.make_figure import main as make_figure
from reports.make_report import main as make_report
from reports.make_tables import main as make_tables
from reports.page.build_page import TITLE, write_page
from reports.sheets.cells import interval, mark, number
from reports.sheets.earlier_tables import is_earlier_table
from reports.sheets.formats import files_of, to_csv, to_markdown, write_files
from reports.sheets.latex import escape_latex, to_document, to_latex
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables.catalogue import build_sheets
from reports.tables.chosen_studies import ChosenStudies
from reports.tables.fig1 import Curve, build_curve
from reports.tables.table5 import build_table
from stvm.errors import StvmError
from tests.helpers.command_output import content
from tests.helpers.scenario_results import make_all

SPECIAL = r"a_b & 50% #1 {x} $y$ ~^\ <|> -- †‡ Δ → ß 漢 `c` * [d]"


def sheet(rows=2, text=SPECIAL):
    columns = (Column("na_me", "left", "name"), Column("m", "right", "m", interval=True))
    cells = (Cell(text), interval(-0.01, 0.02, sign=True))
    return Sheet("t", text, text, text, columns, (cells,) * rows, breaks=(1,), notes=(text,))


def curve_of(results: Path) -> Curve:
    return build_curve(*ChosenStudies(results)["pseudo_labels"])


def environments(text):
    return re.findall(r"\\(begin|end)\{(\w+\*?)\}", text)


def balanced(text):
    stack = []
    for kind, name in environments(text):
        if kind == "begin":
            stack.append(name)
        elif not stack or stack.pop() != name:
            return False
    return not stack


def test_latex_escapes_every_special_character():
    text = escape_latex(SPECIAL)
    bare = re.sub(r"\$\\\w+(\\\w+)?\$|\$\^\\\w+\$|\\[a-z]+\{\}|\\[&%$#_{}]|-\{\}", "", text)
    assert not set(bare) & set("&%$#_{}~^\\<>|") and "漢" not in text and "ß" in text
    assert escape_latex("† ‡ Δ ρ ✓ ≤ \u2212") == (
        r"$^\dagger$ $^\ddagger$ $\Delta$ $\rho$ $\bullet$ $\leq$ $-$"
    )
    assert "?" not in escape_latex(SPECIAL.replace("漢", ""))


def test_two_hyphens_of_a_text_stay_two_and_a_dash_stays_a_dash():
    """LaTeX sets `--` as a dash and `---` as a long one; an option is neither."""
    assert escape_latex("--retry-failed") == "-{}-retry-failed"
    assert escape_latex("0–1 — 2") == "0--1 --- 2"
    assert escape_latex("a\n  b\t'c\"") == "a b 'c''"


@pytest.mark.parametrize(("rows", "kind"), [(40, "table"), (41, "longtable")])
def test_a_table_of_more_than_forty_rows_goes_over_several_pages(rows, kind):
    text = to_latex(sheet(rows, "x"))
    assert {name for _, name in environments(text) if name in ("table", "longtable")} == {kind}
    # A line is drawn above the second row.
    assert text.split(r"\midrule")[-1].count(r" \\") == rows - 1


@pytest.mark.slow
def test_environments_balance_in_every_table_and_in_the_document(tmp_path):
    sheets = [*build_sheets(make_results(tmp_path)), sheet(2), sheet(60)]
    for made in sheets:
        assert balanced(to_latex(made)) and r"\toprule" in to_latex(made)
    text = to_document(sheets)
    assert balanced(text) and text.startswith(r"\documentclass") and len(sheets) == 14
    assert not balanced(text.replace(r"\end{tabular}", "", 1))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_the_document_compiles_as_it_is(tmp_path):
    root = make_all(make_results(tmp_path / "results"))
    sheets = [*build_sheets(root), sheet(2), sheet(90)]
    assert [made.name for made in sheets[:4]] == ["table1", "table2", "table3", "table3_by_class"]
    (tmp_path / "tables.tex").write_text(to_document(sheets), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "tables.pdf").stat().st_size > 10_000


def test_marks_are_bold_and_underlined_and_ties_share_them():
    rows = [(Cell(text, 1.0),) for text in ("1.0", "3.0", "2.0 ‡", "3.0", "", "0.5")]
    found = [row[0].mark for row in mark(rows, 0, range(len(rows)))]
    assert found == ["", "best", "second", "best", "", ""]
    lowest = [row[0].mark for row in mark(rows, 0, range(5), lowest=True)]
    assert lowest == ["best", "", "second", "", "", ""]
    assert [row[0].mark for row in mark(rows, 0, [0])] == [""] * 6
    cells = tuple(mark(rows, 0, range(6)))
    made = Sheet("t", "T", "C", "R", (Column("m", "right", "m"),), cells)
    assert "**3.0**" in to_markdown(made) and "<u>2.0 ‡</u>" in to_markdown(made)
    assert r"\textbf{3.0}" in to_latex(made) and r"\underline{2.0 $^\ddagger$}" in to_latex(made)
    assert "**" not in to_csv(made)


def test_csv_has_both_ends_of_an_interval_unrounded_and_markdown_one_cell():
    made = sheet(1)
    header, row = csv.reader(io.StringIO(to_csv(made)))
    assert header == ["name", "m_low", "m_high"] and row == [SPECIAL, "-1", "2"]
    line = to_markdown(made).splitlines()[-3]
    assert line.replace(r"\|", "").count("|") == 3 and "[-1.0, +2.0]" in line


def test_a_rounded_zero_has_no_sign():
    assert [number(v, sign=True) for v in (-0.0001, 0.0001, 0.01)] == ["0.0", "0.0", "+1.0"]


def test_the_sensitivity_figure_has_a_panel_for_each_hyperparameter(tmp_path):
    make_study(tmp_path, "hparam_grid")
    table = build_table(*ChosenStudies(tmp_path)["hparam_grid"])
    panels = draw_sensitivity(table).axes
    drawn = [axes for axes in panels if axes.lines]
    assert [axes.get_title() for axes in drawn] == list(table.parameters())
    alpha = next(axes for axes in drawn if axes.get_title() == "alpha")
    lines = {line.get_label(): line for line in alpha.lines}
    assert list(lines["paper, GTA5 to Cityscapes"].get_ydata()) == pytest.approx(
        [-0.9, 0, -2.7, -4]
    )
    means = lines["measured, mean"].get_ydata()
    points = table.parameters()["alpha"]
    assert means[3] == pytest.approx(100 * points[3].delta.mean) and means[1] == 0
    assert list(lines["default of the preset"].get_xdata()) == [1]


@pytest.mark.slow
def test_figures_are_the_same_bytes_twice_and_grey(tmp_path):
    make_results(tmp_path, ["hparam_grid", "pseudo_labels"])
    for name in ("a", "b"):
        command = ["--results", str(tmp_path), "--sensitivity", str(tmp_path / f"{name}.png")]
        assert make_figure(command) == 0
        save(draw_fig1(curve_of(tmp_path)), tmp_path / f"{name}-fig1.png")
    for name in ("{}.png", "{}-fig1.png"):
        one, other = ((tmp_path / name.format(x)).read_bytes() for x in "ab")
        assert one == other
        red, green, blue = Image.open(io.BytesIO(one)).convert("RGB").split()
        assert red.tobytes() == green.tobytes() == blue.tobytes()


def test_only_own_earlier_files_are_replaced(tmp_path, capsys):
    """A user's notes, LaTeX and pictures stay; an empty file is nobody's."""
    page, tables = f"<!DOCTYPE html>\n<title>{TITLE}</title>", files_of(sheet())
    tables["tables.tex"] = to_document([sheet()])
    for _ in range(2):
        write_page(page, tmp_path / "own.html")
        write_files(tables, tmp_path)
        save(Figure((1, 1)), tmp_path / "own.png")
    with Image.open(tmp_path / "own.png") as own:
        assert own.info["Software"] == "stvm" and own.size == (160, 160)
    for name in ("own", "OWN.PNG"):
        save(Figure((1, 1)), tmp_path / name)
        assert (tmp_path / name).read_bytes() == (tmp_path / "own.png").read_bytes()
    for dpi in (160, 130, 110, 90, 70, 50):
        # Ten pixels wide: a byte like a line's end.
        Figure((10.1 / dpi, 1)).savefig(
            tmp_path / "large.png", dpi=dpi, metadata={"Software": None}
        )
        save(Figure((1, 1)), tmp_path / "large.png")
    assert (tmp_path / "t.md").read_text() == tables["t.md"]
    Figure((1, 1)).savefig(tmp_path / "odd.png", dpi=160, metadata={"Software": None})
    for place in (28, 49):
        # Interlaced; a resolution without a unit.
        odd = bytearray((tmp_path / "odd.png").read_bytes())
        odd[place] ^= 1
        (tmp_path / "odd.png").write_bytes(odd)
        with pytest.raises(StvmError, match="is no figure"):
            refuse_other_figure(tmp_path / "odd.png")
        odd[place] ^= 1
        (tmp_path / "odd.png").write_bytes(odd)
    refuse_other_figure(tmp_path / "odd.png")
    (tmp_path / "empty").touch()
    write_page(page, tmp_path / "empty")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    Image.new("RGB", (4, 4)).save(theirs / "photo.png", dpi=(160, 160))
    Figure((1, 1)).savefig(theirs / "plot.png", dpi=160)
    # One of ours further on makes no file ours.
    (theirs / "notes.html").write_text(f"<title>Notes</title>{' ' * 4096}{page}")
    with open(theirs / "plot.png", "ab") as plot:
        plot.write(bytes(4096) + (tmp_path / "own.png").read_bytes())
    for name in ("t.md", "t.csv", "tables.tex"):
        (theirs / name).write_text("mine")
    before = {path: path.read_bytes() for path in theirs.iterdir()}
    for write, place, named in (
        (lambda path: write_page(page, path), theirs / "notes.html", "notes.html"),
        (lambda path: save(Figure((1, 1)), path), theirs / "photo.png", "photo.png"),
        (lambda path: save(Figure((1, 1)), path), theirs / "plot.png", "plot.png"),
        (
            lambda path: write_files({"tables.tex": tables["tables.tex"]}, path),
            theirs,
            "tables.tex",
        ),
        (lambda path: write_files(files_of(sheet()), path), theirs, "t.md"),
        (lambda path: write_files({"new.tex": "", "t.csv": ""}, path), theirs, "t.csv"),
    ):
        with pytest.raises(
            StvmError, match=f"^{theirs / named} exists and is no .* stays as it is: "
        ):
            write(place)
    for command, option, place in (
        (make_report, "--out", theirs / "notes.html"),
        (make_figure, "--bars", theirs / "photo.png"),
        (make_figure, "--out", theirs / "photo.png"),
    ):
        assert command(["--results", str(tmp_path / "none"), option, str(place)]) == 2
        assert f"{place} exists and is no" in capsys.readouterr().err, "before records are read"
    for words, told in (
        (["--bars", "a.pdf"], "make_figure: a.pdf: figures are PNG files; name it a.png\n"),
        (["--bars", "a.png", "--out", "a.png"], "make_figure: a.png is named for two figures"),
    ):
        assert make_figure(["--results", str(tmp_path / "none"), *words]) == 2
        assert capsys.readouterr().err.startswith(told), "before records are read"
    with pytest.raises(SystemExit):
        make_figure(["--bras", "a.png"])
    told = "error: unrecognized arguments: --bras a.png; see make_figure.py --help\n"
    assert capsys.readouterr().err == told
    assert before == {path: path.read_bytes() for path in theirs.iterdir()}
    results, (tables_of, picture) = tmp_path / "results", (tmp_path / "a", tmp_path / "a/fig1.png")
    make_results(results, ["pseudo_labels"])
    tables_of.mkdir()
    picture.write_bytes(b"mine")
    assert make_tables(["--results", str(results), "--out", str(tables_of)]) == 2
    assert f"{picture} exists and is no" in capsys.readouterr().err
    assert content(tables_of) == {picture: b"mine"}, "before a table is written"


def test_each_file_of_a_table_is_judged_for_itself(tmp_path):
    """A user's file stays beside ours of the same table; those of earlier versions are replaced."""
    made = sheet(text="study abcdefabcdef")
    ours = files_of(made) | {"tables.tex": to_document([made])}
    write_files(ours, tmp_path)
    aligned = "| a | b |\n|:--|--:|\n"
    for name, text in (
        ("t.md", "# study abcdefabcdef\n\nMy notes on study abcdefabcdef.\n"),
        ("t.md", f"# Mine\n\nstudy abcdefabcdef\n\n{aligned.replace(':', '-')}"),
        ("t.md", f"# Mine\n\nno study\n\n{aligned}"),
        ("t.md", f"# Mine\n\nno study, but a commit: {40 * 'a'}\n\n{aligned}"),
        ("t.md", f"Mine\n\nstudy abcdefabcdef\n\n{aligned}"),
        ("t.csv", "name,iou\na,1\n"),
        ("t.md", ours["t.md"].partition("\n\n| ")[0]),
        ("t.csv", "name;m_low;m_high\na;1;2\n"),
        ("t.csv", "id,m_low,m_high\na,1,2\n"),
        ("t.csv", "name,\udce9\na,1\n"),
        ("t.tex", f"\\section{{Mine}}\n{ours['t.tex']}"),
        ("tables.tex", ours["tables.tex"].replace("% needs", "Mine % needs", 1)),
    ):
        (tmp_path / name).write_text(text, errors="surrogateescape")
        before = content(tmp_path)
        with pytest.raises(StvmError, match=f"^{tmp_path / name} exists and is no table of this"):
            write_files(ours, tmp_path)
        assert content(tmp_path) == before
        (tmp_path / name).write_text(ours[name])
    for name, text in (
        ("t.md", f"# Older title\n\nablation (study 0123456789ab)\n\nRule: x\n\n{aligned}"),
        ("t.md", f"# Older title\n\nablation (study 0123456789ab)\n\n{aligned}"),
        ("t.md", f"# Older title\n\n{5000 * 'x'} 0123456789ab\n\n{aligned}"),
        ("t.csv", "name,m_low\na,1\n"),
        ("t.csv", "name,m_high\r\na,1\r\n"),
        ("t.csv", "name,m_low,m_high,four,more,of,later\na,1,2,3,4,5,6\n"),
        ("t.tex", "% needs \\usepackage{booktabs}\n\\begin{table}\n"),
        ("tables.tex", ours["tables.tex"].replace("\\usepackage{textcomp}\n", "")),
    ):
        (tmp_path / name).write_text(text)
        write_files(ours, tmp_path)
        assert (tmp_path / name).read_text() == ours[name]
    assert not is_earlier_table(tmp_path / "t.txt", "")(ours["t.tex"].encode())


def test_files_are_whole_where_a_write_is_stopped(tmp_path, monkeypatch):
    page, tables = f"<title>{TITLE}</title>", files_of(sheet())
    write_page(page, tmp_path / "own.html")
    write_files(tables, tmp_path)
    save(Figure((1, 1)), tmp_path / "own.png")
    with monkeypatch.context() as patch, pytest.raises(StvmError) as told:
        patch.setattr("stvm.files.earlier_files._head", broken)
        write_page(page, tmp_path / "own.html")
    assert str(told.value).startswith(f"cannot write {tmp_path / 'own.html'}: Input/output error; ")
    before = content(tmp_path)
    monkeypatch.setattr("os.replace", killed)
    for write in (
        lambda: write_page(f"{page} newer", tmp_path / "own.html"),
        lambda: write_page(page, tmp_path / "new.html"),
        lambda: write_files(tables | {"t.md": f"{tables['t.md']}newer"}, tmp_path),
        lambda: save(Figure((2, 2)), tmp_path / "own.png"),
    ):
        with pytest.raises(KeyboardInterrupt):
            write()
        assert content(tmp_path) == before


def killed(*_):
    raise KeyboardInterrupt


def broken(*_):
    raise OSError(5, "Input/output error")


def test_no_grid_is_one_line(tmp_path, capsys):
    make_study(tmp_path, "variance")
    assert make_figure(["--results", str(tmp_path), "--sensitivity", str(tmp_path / "s.png")]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and "run `python studies/hparam_grid.py` first" in error[0]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--bars", "--variance", "--silhouette", "--objectives"])
def test_a_figure_of_each_table_is_drawn_and_a_missing_study_named(tmp_path, capsys, option):
    picture = tmp_path / "figure.png"
    assert (
        make_figure(["--results", str(make_results(tmp_path / "all")), option, str(picture)]) == 0
    )
    assert picture.read_bytes().startswith(b"\x89PNG")
    none = make_results(tmp_path / "none", ["pseudo_labels"])
    assert make_figure(["--results", str(none), option, str(picture)]) == 2
    assert "run `python studies/" in capsys.readouterr().err


def test_table_sixs_dots_are_the_seeds_about_their_mean_and_the_published_sds(tmp_path):
    chosen = ChosenStudies(make_results(tmp_path))
    manifest, records = chosen["variance"]
    left, right = draw_variance(manifest, records, None).axes
    values = np.array([100 * record.miou for record in records.values()])
    dots = left.lines[0].get_xdata()
    np.testing.assert_allclose(sorted(dots), sorted(values - values.mean()))
    np.testing.assert_allclose(left.lines[1].get_xdata()[1], values.std(ddof=1))
    assert [line.get_xdata()[1] for line in right.lines] == [1.49, 0.64, 0.88, 2.18, 0.25]


def test_table_sevens_dots_pair_each_trials_miou_with_its_silhouette(tmp_path):
    manifest, records = ChosenStudies(make_results(tmp_path))["silhouette"]
    truth = draw_silhouette(manifest, records).axes[0]
    overall = [line for line in truth.lines if line.get_markerfacecolor() == "black"]
    found = {
        (round(x, 6), round(y, 6))
        for line in overall
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    assert found == {
        (
            round(100 * r.miou, 6),
            round(100 * r.result["silhouette"]["truth"]["overall_mean"], 6),
        )
        for r in records.values()
    }


def wide(characters: int, rows: int = 3, title: str = "Table IV by class") -> str:
    """LaTeX of a table of one column so wide."""
    made = (Cell("x" * (characters - 2)),)
    columns = (Column("row", "left", "row"),)
    return to_latex(Sheet("t", title, "of a study", "", columns, (made,) * rows))


@pytest.mark.parametrize("rows", [3, 60])
def test_latex_keeps_the_papers_number_and_does_not_put_its_own_before_it(rows):
    text = wide(50, rows)
    before, _, after = text.partition(r"\caption{By class. of a study}")
    assert r"\renewcommand{\tablename}{Table}\renewcommand{\thetable}{IV}" in before
    assert "Table IV" not in after and r"\label{tab:t}" in after
    assert r"\tablename}{Fig.}\renewcommand{\thetable}{1}" in wide(50, rows, "Fig. 1")
    free = wide(50, rows, "Choosing without labels")
    assert r"\caption{Choosing without labels. of a study}" in free and "renewcommand" not in free


def test_a_wide_table_lies_down_before_its_text_becomes_very_small():
    assert r"\small" in wide(90) and "sideways" not in wide(90)
    assert r"\footnotesize\setlength" in wide(110) and "sideways" not in wide(110)
    assert r"\small" in wide(130) and "sideways" in wide(130)
    assert r"\footnotesize\setlength" in wide(160) and "sideways" in wide(160)
    assert r"\scriptsize" in wide(300) and "sideways" in wide(300)
    assert "sideways" not in wide(130, 35)


@pytest.mark.slow
def test_the_name_of_a_study_with_many_changes_stays_inside_the_figure(tmp_path):
    chosen = ChosenStudies(make_results(tmp_path))
    changes = " ".join(f"setting_number_{i}={i}" for i in range(20))
    manifest, records = chosen["variance"]
    long = replace(manifest, title=changes)
    drawn_curve = curve_of(tmp_path)
    curve = replace(drawn_curve, manifest=replace(drawn_curve.manifest, title=changes))
    level = replace(
        build_table(*chosen["hparam_grid"]),
        manifest=replace(chosen["hparam_grid"][0], title=changes),
    )
    grid = {row: sample_of_grey() for row in SHOWN}
    drawn = [
        draw_variance(long, records, None),
        draw_silhouette(replace(chosen["silhouette"][0], title=changes), chosen["silhouette"][1]),
        draw_sensitivity(level),
        draw_fig1(curve),
        draw_grid(grid, changes),
    ]
    for figure in drawn:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        texts = figure.findobj(lambda a: isinstance(a, Text) and "number_7" in a.get_text())
        assert texts
        for text in texts:
            extent = text.get_window_extent(canvas.get_renderer())
            assert extent.x0 >= 0 and extent.x1 <= figure.bbox.width


def sample_of_grey():
    pixels = np.zeros((1, 16, 32), np.uint8)
    return Sample(
        np.zeros((1, 16, 32, 3), np.uint8), pixels, pixels, np.zeros((1, 3), np.uint8), 0.5, None
    )
