"""Storages, spaces, samplers and plots of a search by their names."""

import os
from pathlib import Path
from typing import Any

import matplotlib.figure
import optuna
import pytest

from stvm.errors import StvmError
from stvm.files import FIGURE_SOFTWARE
from stvm.records.results import Results
from stvm.search.plots import importances, refuse_other_plots, write_plots
from stvm.search.search import Search
from stvm.search.space import find_parameters, searchable
from stvm.search.storage import SAMPLERS, find_sampler, make_sampler, open_storage, storage_place
from stvm.settings import Settings, group_of
from tests.helpers.search_runs import Bench, next_of, plan
from tests.helpers.tiny_settings import tiny


def test_another_search_under_the_same_name_is_refused(tmp_path: Path) -> None:
    Bench(tmp_path, given_name="mine")
    for changes, message in (
        ({"score": "miou"}, 'objective "information_maximisation", not "miou"'),
        ({"base": tiny(iterations=7)}, "started with iterations 6, not 7"),
        ({"parameters": ("alpha",)}, "started with parameters"),
        ({"seed": 1001}, "search_seed 1000, not 1001"),
    ):
        with pytest.raises(StvmError, match=message):
            Bench(tmp_path, given_name="mine", **changes)
    storage = open_storage(str(tmp_path / "theirs.log"), tmp_path, "theirs")
    study = optuna.create_study(study_name="theirs", storage=storage)
    study.ask()
    with pytest.raises(StvmError, match="was not made by this command"):
        Bench(tmp_path, given_name="theirs")


def test_a_storage_that_another_results_folder_uses_is_refused(tmp_path: Path) -> None:
    def opened(folder: Path, **changes: Any) -> Search:
        made = plan(**changes)
        storage = open_storage(str(tmp_path / "shared.log"), folder, made.name)
        return Search(made, storage, "shared", Results(folder), 3)

    next_of(opened(tmp_path / "a"))
    with pytest.raises(StvmError, match="belongs to another results folder: .*--name"):
        opened(tmp_path / "b")
    next_of(opened(tmp_path / "b", given_name="mine"))
    os.rename(tmp_path / "a", tmp_path / "moved")
    assert opened(tmp_path / "moved").left() == 3


def test_versions_are_kept(tmp_path: Path) -> None:
    versions = Bench(tmp_path).search.study.user_attrs["versions"]
    assert versions[0]["optuna"] == optuna.__version__ and set(versions[0]) > {"ray", "torch"}


@pytest.mark.slow
def test_storages(tmp_path: Path) -> None:
    for storage in (str(tmp_path / "a.log"), str(tmp_path / "b.db"), f"sqlite:///{tmp_path}/c.db"):
        search = Search(plan(), open_storage(storage, tmp_path, "x"), storage, Results(tmp_path), 2)
        assert next_of(search).number == 0
    assert {p.name for p in tmp_path.iterdir()} >= {"a.log", "b.db", "c.db"}
    for wrong in ("nonsense://x", "postgresql://me:secret@127.0.0.1:1/db"):
        with pytest.raises(StvmError, match="check --storage") as error:
            open_storage(wrong, tmp_path, "x")
        assert "secret" not in str(error.value) and "\n" not in str(error.value)
    assert storage_place("mysql://me:secret@host/db", "x") == "mysql://me:***@host/db"
    assert storage_place(None, "x") == "searches/x.db"


def test_the_space() -> None:
    own = [name for name in searchable() if group_of(name) != "objective"]
    assert set(own) == {*("n_f", "temperature", "q_m", "alpha", "beta", "tau_mocm", "n_mocm")}
    found = {p.name: p for p in find_parameters(own, Settings())}
    assert [n for n, p in found.items() if p.integer] == ["n_f", "n_mocm"]
    assert {n for n, p in found.items() if p.log} == {"temperature", "q_m", "alpha", "n_mocm"}
    assert found["alpha"].rounded(1.23456) == 1.23 and found["n_f"].rounded(77) == 77
    with pytest.raises(StvmError, match="'lr' has no search range"):
        find_parameters(["lr"], Settings())
    with pytest.raises(StvmError, match="'alpha' changes nothing"):
        find_parameters(["alpha"], tiny(mgs=False))


def test_the_space_of_an_objective_beside_stvm() -> None:
    base = tiny().replace(procedure="cotta")
    found = {p.name: p for p in find_parameters(["cotta_restore", "cotta_threshold"], base)}
    assert found["cotta_restore"].low == 1e-4 and found["cotta_restore"].log
    with pytest.raises(StvmError, match="cotta_restore=.* has no effect with procedure=adapt"):
        find_parameters(["cotta_restore"], tiny())


def test_names_of_samplers() -> None:
    with pytest.raises(StvmError, match="unknown sampler 'tpee': did you mean 'tpe'"):
        find_sampler("tpee")
    assert find_sampler("TPE") == "tpe"
    for name in SAMPLERS:
        if name != "cmaes":
            assert isinstance(make_sampler(name, 0, 3), optuna.samplers.BaseSampler)


def test_cmaes_without_its_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StvmError, match="pip install cmaes"):
        find_sampler("CmaEs")


def test_the_grid_is_table_fives_and_ends(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=100, sampler="grid", parameters=("alpha", "beta"))
    done = bench.run(bench.search)
    assert len({s.trial.hash for s in done}) == 16 and bench.search.left() == 0
    assert {s.values["alpha"] for s in done} == {1, 2, 4, 8}


@pytest.mark.slow
def test_plots_and_importances(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=8)
    bench.run(bench.search, most=1)
    assert "missing" in importances(bench.search.study)
    assert "missing" in write_plots(bench.search.study, "score", tmp_path)[0]
    bench.run(bench.search)
    assert "alpha" in importances(bench.search.study)
    before = dict(matplotlib.rcParams)
    write_plots(bench.search.study, "score", tmp_path)
    assert dict(matplotlib.rcParams) == before
    for name in ("history", "slice", "importance", "parallel"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    write_plots(bench.search.study, "score", tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_a_plot_replaces_plots_alone(tmp_path: Path) -> None:
    figure = matplotlib.figure.Figure(figsize=(0.2, 0.2))
    figure.savefig(tmp_path / "history.png", dpi=120)  # as earlier versions wrote it
    refuse_other_plots(tmp_path)
    figure.savefig(tmp_path / "slice.png", dpi=100)
    with pytest.raises(StvmError, match=r"slice\.png exists and is no plot of this project"):
        refuse_other_plots(tmp_path)
    figure.savefig(tmp_path / "slice.png", dpi=100, metadata={"Software": FIGURE_SOFTWARE})
    refuse_other_plots(tmp_path)
