"""Realisations are draws of the embedded benchmark; nothing speaks of one for other data."""

from pathlib import Path

import pytest

from benchmarks.study_results import make_study
from reports import make_report
from reports.sheets.rows import pool
from studies.__main__ import main
from studies.commands.lookup import manifest_paths
from studies.commands.retry_failed import build_retry
from stvm.records.manifest import find_manifests, read_manifest
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.settings.presets import PRESETS
from tests.helpers.command_output import put, synthetic
from tests.helpers.scenario_results import make_scenario
from tests.helpers.tiny_settings import tiny


def test_a_page_of_published_data_speaks_of_no_realisation(tmp_path: Path) -> None:
    make_scenario(tmp_path, "gta5_cityscapes")
    assert make_report.main(["--results", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "STvM, seed 1" in page and "realisation 0" not in page.lower()


def test_labels_name_the_draw_where_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, drawn = tmp_path / "made", tmp_path / "drawn"
    make_scenario(made, "gta5_cityscapes")
    make_study(drawn, "variance")
    for root, label, title in (
        (made, "STvM seed 0", ""),
        (drawn, "STvM realisation 0 seed 0", ": realisations 0 (fresh)"),
    ):
        (path,) = manifest_paths(Results(root))
        labels = [trial.label() for trial in read_manifest(path).trials]
        assert label in labels
        ((only,),) = [list(paths.values()) for paths in find_manifests(root).values()]
        trials = read_manifest(only).trials
        assert f"{label} (" in "".join(map(str, trials))
        assert pool(dict.fromkeys(trials)).named(": ") == title
    assert main(["status", "--results", str(made)]) == 0
    assert "realisation" not in capsys.readouterr().out


def test_a_row_is_read_off_a_label_with_or_without_a_draw(tmp_path: Path) -> None:
    city = PRESETS["cityscapes-crosscity-rome-deeplabv2"].settings(source_checkpoint="x")
    given: list[tuple[Settings, str]] = [
        (tiny(), "ST_MT realisation 0 seed 0"),
        (tiny(seed=1), "ST_MT seed 1"),
        (city, "STvM rome seed 0"),
    ]
    for settings, label in given:
        named = {"hash": settings.hash(), "settings": settings.canonical().flat()}
        put(tmp_path, synthetic(settings.hash(), None) | named | {"variant": label})
    rows = {trial.hash: trial.variant for trial in build_retry(Results(tmp_path)).trials}
    assert [rows[settings.hash()] for settings, _ in given] == ["ST_MT", "ST_MT", "STvM"]
