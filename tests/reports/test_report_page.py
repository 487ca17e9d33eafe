"""The HTML page from made-up results."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from benchmarks.study_results import change, fail, make_results, make_study
from reports.make_report import main
from reports.make_tables import main as make_tables
from reports.page.build_page import build_page, write_page
from reports.page.svg import panel, to_svg
from reports.page.training_curves import band, effective_classes
from reports.tables.catalogue import build_sheets
from reports.tables.table6 import published_seeds
from stvm.errors import StvmError
from stvm.evaluation import collapse
from stvm.records import record
from stvm.settings.presets import PRESETS

ROOT = Path(__file__).parents[2]
EVIL = '<script>alert("x")</script> & $quoted$'


def sample(results: Path, name: str, miou: float) -> None:
    """Made-up predictions on two images, the same images for every trial."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 9, (2, 16, 32)).astype(np.uint8)
    arrays = {"images": random.integers(0, 255, (2, 16, 32, 3)).astype(np.uint8)}
    arrays |= {"labels": labels, "predictions": np.roll(labels, int(9 * miou), 2)}
    arrays |= {"palette": np.full((9, 3), 20, np.uint8), "miou": np.array(miou)}
    arrays |= {"reliability": random.random((2, 16, 32), np.float32)}
    (results / "samples").mkdir(exist_ok=True)
    np.savez_compressed(results / f"samples/{name}.npz", **arrays)


def hashes(results: Path, kind: str, row: str) -> list[str]:
    manifest = json.loads(min((results / "studies").glob(f"{kind}-*.json")).read_text())
    return [trial["hash"] for trial in manifest["trials"] if trial["row"] == row]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every study but the variance; one trial failed, one missing, one collapsed."""
    kinds = ("ablation", "hparam_grid", "silhouette", "pseudo_labels", "search", "readings")
    root = make_results(tmp_path_factory.mktemp("page") / "results", kinds, seeds=range(2))
    for row in ("Source", "ST_MT", "STvM"):
        sample(root, hashes(root, "ablation", row)[0], 0.4)
    fail(root, hashes(root, "hparam_grid", "beta=0.8")[0], EVIL)
    (root / "records" / f"{hashes(root, 'hparam_grid', 'beta=0.7')[0]}.json").unlink()
    shares = np.linspace([0.12] * 8 + [0.04], [0] * 8 + [1], 5).tolist()
    watch = [{"iteration": 200 * i, "shares": s} for i, s in enumerate(shares)]
    change(root, hashes(root, "hparam_grid", "alpha=8")[0], collapsed=True, watch=watch)
    (root / "searches/demo").mkdir(parents=True)
    Image.new("L", (40, 20)).save(root / "searches/demo/history.png")
    (root / "searches/older").mkdir()
    Image.new("L", (40, 20)).save(root / "searches/older/history.png")
    return root


@pytest.fixture(scope="module")
def page(results: Path) -> str:
    return build_page(results)


class Elements(HTMLParser):
    """Ids, references, and the text of each element with an id, of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, name: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(name))]


def test_an_earlier_page_is_replaced(page: str, tmp_path: Path) -> None:
    for text in (page, f"{page} newer"):
        write_page(text, tmp_path / "report.html")
        assert (tmp_path / "report.html").read_text(encoding="utf-8") == f"{text}\n"


@pytest.mark.slow
def test_nothing_comes_from_elsewhere(page: str) -> None:
    tags = Elements(page)
    assert all(url.startswith("data:image/png;base64,") for url in tags.all("src"))
    assert all(url.startswith("#") for url in tags.all("href") + tags.all("xlink:href"))
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in tags.tags}
    assert "@import" not in page and not re.search(r"url\((?!#)", page)
    assert "default-src 'none'" in page


def test_every_link_has_one_place_to_lead_to(page: str) -> None:
    tags = Elements(page)
    ids = tags.all("id")
    assert len(ids) == len(set(ids))
    wanted = {url[1:] for url in tags.all("href")} | set(tags.all("popovertarget"))
    wanted |= set(tags.all("aria-labelledby")) | set(tags.all("aria-describedby"))
    assert wanted <= set(ids)


@pytest.mark.slow
def test_every_listed_trial_has_its_entry_and_its_replay(results: Path, page: str) -> None:
    listed = {
        trial["hash"]
        for path in (results / "studies").glob("*.json")
        for trial in json.loads(path.read_text())["trials"]
    }
    shown = {a["id"] for tag, a in Elements(page).tags if a.get("class") == "trial"}
    assert shown == listed
    for name in listed:
        recorded = (results / f"records/{name}.json").exists()
        assert (f"python -m studies replay {name} --results {results}" in page) == recorded
    assert page.count(f">python studies/hparam_grid.py --results {results}<") == 1


@pytest.mark.slow
def test_every_table_stands_in_the_page_once(results: Path, page: str) -> None:
    names = [made.name for made in build_sheets(results)] + ["readings"]
    shown = [name.removeprefix("sheet-") for name in re.findall(r'<table id="([^"]+)"', page)]
    assert set(names) <= set(shown) and len(shown) == len(set(shown))
    section = page.split('<h2 id="readings">')[1].split("</section>")[0]
    assert "patch_order=random</th>" in section


@pytest.mark.slow
def test_published_rows_are_those_that_the_sheet_names(tmp_path: Path) -> None:
    make_study(tmp_path, "variance", seeds=[0, 1])
    (made,) = [s for s in build_sheets(tmp_path) if s.name == "table6"]
    table = build_page(tmp_path).split('id="sheet-table6"')[1].split("</table>")[0]
    rows = re.findall(r'<tr class="([^"]*)">(.*?)</tr>', table, re.S)
    grey = [text for sort, text in rows if "published" in sort]
    assert len(grey) == len(made.published_rows) == len(published_seeds())
    assert all("(published †)" in text and "href" not in text for text in grey)


@pytest.mark.slow
def test_each_record_is_read_once(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = record.find_json

    def counted(path: Path) -> dict[str, Any] | None:
        found = plain(path)
        read.extend([path.stem] * (found is not None))
        return found

    monkeypatch.setattr(record, "find_json", counted)
    build_page(results)
    assert sorted(read) == sorted(p.stem for p in (results / "records").glob("*.json"))


def test_a_figure_leads_to_the_trials_it_is_the_mean_of(results: Path, page: str) -> None:
    names = hashes(results, "ablation", "STvM")
    records = [json.loads((results / f"records/{n}.json").read_text()) for n in names]
    mean = 100 * np.mean([record["result"]["miou"] for record in records])
    row = next(r for r in page.split("<tr")[1:] if ">STvM</th>" in r)
    target, text = re.findall(r'popovertarget="([^"]+)">([\d.]+)</button>', row)[0]
    assert text == f"{mean:.1f}"
    popover = page.split(f'<div popover id="{target}">')[1].split("</div>")[0]
    assert re.findall(r'href="#(\w+)"', popover) == names


def test_failed_missing_and_collapsed_trials_are_counted_and_marked(page: str) -> None:
    assert "1 failed, 1 not run yet; 1 of those done collapsed" in page
    for mark in ("failed", "missing", "collapsed"):
        assert page.count(f'<span class="mark">{mark}</span>') == 1
    assert "(collapsed), realisation 0, seed 0, on a few fixed target images" in page


def test_text_of_records_is_never_markup(page: str) -> None:
    assert "alert(" in page and "<script>alert" not in page
    assert page.count("<script>") == 1


def test_what_has_not_run_says_how_to_run_it(page: str, tmp_path: Path) -> None:
    assert re.findall(r"Not run yet: <code>(.*?)</code>", page) == [
        "python studies/scenarios.py",
        "python studies/variance.py",
        "python studies/objectives.py",
    ]
    (tmp_path / "empty").mkdir()
    empty = build_page(tmp_path / "empty")
    assert empty.count("Not run yet: <code>python studies/") == 9
    assert "0 trials done, 0 failed, 0 not run yet" in empty


def test_a_folder_that_holds_no_results_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results, notes = tmp_path / "here/results", tmp_path / "notes"
    make_study(results, "variance", seeds=[0])
    notes.mkdir()
    (notes / "mine.txt").write_text("mine")
    (results / "tables").mkdir()
    (results / "tables/table6.md").write_text("x")
    for place, told in (
        (results / "records", f"did you mean {results}?"),
        (results / "tables", f"did you mean {results}?"),
        (tmp_path / "here", f"did you mean {results}?"),
        (notes, "run a study first, as `python studies/ablation.py` or `python studies/scenarios."),
    ):
        before = sorted(place.iterdir())
        for command in (main, make_tables):
            assert command(["--results", str(place)]) == 2
            said = capsys.readouterr().err
            assert f": {place} is no results folder, as it holds no records: {told}" in said
            assert said.count("\n") == 1 and sorted(place.iterdir()) == before
    monkeypatch.chdir(results / "studies")
    assert main(["--results", "."]) == 2
    assert capsys.readouterr().err.endswith(": did you mean ..?\n")
    (results / "fog").mkdir()
    assert main(["--results", str(results / "fog")]) == 0, "of a study to come"
    assert main(["--results", str(results / "fog")]) == 0


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(results: Path, page: str) -> None:
    command = [sys.executable, "reports/make_report.py", "--results", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(results / "report.html")
    assert (results / "report.html").read_text() == page + "\n"


def test_every_picture_is_described_and_every_header_has_a_scope(page: str) -> None:
    tags = Elements(page).tags
    pictures = [a for tag, a in tags if tag == "img"]
    assert len(pictures) == 2 * 7 + 1
    assert all(a["alt"] for a in pictures)
    assert all(a["aria-label"] for tag, a in tags if tag == "svg")
    assert all(a["scope"] in ("row", "col") for tag, a in tags if tag == "th")


def test_old_records_without_scores_and_watch_are_enough(tmp_path: Path) -> None:
    manifest = make_study(tmp_path, "ablation", seeds=[0])
    for trial in manifest["trials"]:
        missing = ("scores", "watch", "collapsed", "silhouette", "auroc")
        change(tmp_path, trial["hash"], **dict.fromkeys(missing))
    page = build_page(tmp_path)
    assert "Training curves" in page and "One trial a row, so no band." in page
    assert "Watch for collapse" not in page and "Choosing without labels" not in page


@pytest.mark.slow
def test_settings_that_differ_from_the_preset_come_first(tmp_path: Path) -> None:
    manifest = make_study(tmp_path, "ablation", seeds=[0])
    name = next(t["hash"] for t in manifest["trials"] if t["row"] == "STvM")
    path = tmp_path / f"records/{name}.json"
    record = json.loads(path.read_text())
    record["settings"] = PRESETS["demo"].settings(alpha=4, mocm=False).canonical().flat()
    path.write_text(json.dumps(record))
    entry = build_page(tmp_path).split(f'id="{name}"')[1].split("</details>")[0]
    changed, others = entry.split("All other settings")
    found = set(re.findall(r"<strong>(.*?)</strong>", changed))
    assert found == {"alpha=4", "mocm=false"}
    assert "beta=0.6" in others and "alpha=" not in others


def test_a_shared_trial_stands_once_and_names_its_other_cells(results: Path, page: str) -> None:
    name = hashes(results, "ablation", "STvM")[0]
    assert page.count(f'id="{name}"') == 1
    entry = page.split(f'id="{name}"')[1].split("</details>")[0]
    rows = "tau_mocm=0.6, n_mocm=3, n_f=64, temperature=0.25, q_m=0.2, alpha=2, beta=0.6"
    assert f"hparam_grid, preset demo: {rows};" in entry


@pytest.mark.parametrize(
    ("field", "value"), [("curve", [{"loss": 1}]), ("watch", [{"iteration": 0}]), ("scores", [])]
)
def test_a_field_that_is_not_what_it_should_be_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, value: object
) -> None:
    manifest = make_study(tmp_path, "variance", seeds=[0])
    change(tmp_path, manifest["trials"][0]["hash"], **{field: value})
    assert main(["--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"'{field}'" in error and manifest["trials"][0]["hash"] in error


def test_another_study_of_a_kind_is_shown_by_its_base(tmp_path: Path) -> None:
    for base, seeds in (("aaaaaaaaaaaa", [5]), ("bbbbbbbbbbbb", [6])):
        make_study(tmp_path, "variance", seeds=seeds, base=base)
    name = hashes(tmp_path, "variance", "STvM")[0]
    newest, older = build_page(tmp_path), build_page(tmp_path, ["aaaaaaaaaaaa"])
    for page, shown in ((newest, False), (older, True)):
        table = page.split('id="sheet-table6"')[1].split("</table>")[0]
        assert (f'href="#{name}"' in table) == shown
        assert f'id="{name}"' in page
    assert build_page(tmp_path, ["variance-aaaaaaaaaaaa"]) == older, "as status shows it"
    for name in ("cccccccccccc", "ablation-aaaaaaaaaaaa"):
        with pytest.raises(StvmError, match=f"no study '{name}'"):
            build_page(tmp_path, [name])


@pytest.mark.slow
def test_a_table_that_was_tuned_on_says_so(tmp_path: Path) -> None:
    make_study(tmp_path, "variance", seeds=[0, 1], tuned=[0])
    assert "<h3>Table VI (tuned on)</h3>" in build_page(tmp_path)


def test_a_bad_file_is_one_line_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = make_study(tmp_path, "ablation", seeds=[0])
    path = tmp_path / f"records/{manifest['trials'][0]['hash']}.json"
    path.write_text("{")
    assert main(["--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert path.name in error and error.count("\n") == 1
    page = (tmp_path / "report.html").read_text()
    assert manifest["trials"][1]["hash"] in page, "the others are shown"
    (tmp_path / "records/0123456789ab.json").write_text("{")
    (tmp_path / "studies/silhouette-abc.json").write_text("{")
    assert main(["--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("make_report: ") == error.count("\n") == 3
    assert (tmp_path / "report.html").read_text() == page
    assert main(["--results", str(tmp_path / "none")]) == 2
    assert (
        "run a study first, as `python studies/ablation.py` or `python studies/scen"
        in capsys.readouterr().err
    )


def test_a_band_is_mean_lowest_and_highest_of_the_curves() -> None:
    found = band([[(1, 2.0), (2, 5.0)], [(1, 4.0)], []])
    assert (found.x, found.mean, found.trials) == ([1, 2], [3.0, 5.0], 2)
    assert (found.low, found.high) == ([2.0, 5.0], [4.0, 5.0])


@pytest.mark.parametrize("shares", [[0.25] * 4, [1.0, 0.0], [0.7, 0.2, 0.1]])
def test_effective_classes_is_scipys_perplexity(shares: list[float]) -> None:
    found = effective_classes(shares)
    assert found == pytest.approx(np.exp(stats.entropy(shares)))
    assert found == pytest.approx(collapse.effective_classes(shares)), (
        "the collapse that is recorded"
    )


def test_a_figure_is_xml_with_ids_of_its_own() -> None:
    texts = []
    for name in ("a", "b"):
        figure, axes = panel()
        axes.plot([0, 1], label=EVIL)
        axes.legend()
        texts.append(to_svg(figure, name, EVIL))
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in texts]
    assert ids[0] and not ids[0] & ids[1]
    root = ElementTree.fromstring(texts[0])
    assert root.get("aria-label") == EVIL


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_a_browser_opens_the_page_without_complaint(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert main(["--results", str(results), "--out", str(out)]) == 0
    name = hashes(results, "hparam_grid", "alpha=8")[0]
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    command = ["chromium", *options, f"--user-data-dir={tmp_path}/profile", "--dump-dom"]
    done = subprocess.run(
        [*command, f"{out.as_uri()}#{name}"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr
    assert "<title>STvM: measured results</title>" in done.stdout
    assert re.search(rf'<details class="trial" id="{name}" open', done.stdout)


@pytest.mark.slow
def test_a_damaged_picture_is_named_in_its_place_and_blocks_nothing(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "results"
    shutil.copytree(results, root)
    sampled = root / "samples" / f"{hashes(root, 'ablation', 'STvM')[0]}.npz"
    sampled.write_bytes(sampled.read_bytes()[:40])
    plot = root / "searches/demo/history.png"
    plot.write_bytes(b"no picture")
    record = min((root / "records").iterdir())
    copy = record.with_name(f"{record.stem} (copy).json")
    copy.write_text(record.read_text())
    assert main(["--results", str(root)]) == 0
    assert f"{copy}: not named by a trial's hash" in capsys.readouterr().err
    page = (root / "report.html").read_text()
    assert f"Not shown: cannot read {sampled}: " in page
    assert f"Not shown: cannot read {plot}: " in page
    assert 'id="sheet-table4"' in page and " (copy)" not in page
