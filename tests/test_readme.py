"""The commands of the README run as they stand there, on tiny settings."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import ASSIGNMENTS

ROOT = Path(__file__).resolve().parents[1]


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_the_readme_makes_what_the_makefile_knows() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = [line.split()[1] for line in commands() if line.startswith("make ")]
    assert targets[:2] == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_links_and_pictures_exist() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_anchors_name_headings() -> None:
    found = 0
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for file, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
            target = page.parent / file if file else page
            heads = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads]
            assert anchor in slugs, f"{page.name}: {file}#{anchor}"
            found += 1
    assert found


def test_no_figure_is_left_to_fill_in() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert not re.findall(r"@[A-Z]+@|DEMO_[A-Z]+|TODO", page.read_text()), page.name


SMALLER = {
    "studies/ablation.py": ["--seeds", "0"],
    "studies/optuna_search.py": ["--trials", "3", "--seeds", "0"],
    "studies/variance.py": ["--seeds", "0", "1"],
    "studies/readings.py": ["--list"],
}
"""Options that make a command of the README short enough for a test."""


def as_a_test_runs_it(words: list[str], folder: Path) -> list[str]:
    """A command of the README on tiny settings, with the hash of a recorded trial for HASH."""
    records = sorted((folder / "results" / "records").glob("*.json"))
    words = [records[0].stem if word == "HASH" else word for word in words[1:]]
    more: list[str] = []
    if words[0].startswith("studies/"):
        given = {word.split("=")[0] for word in words}
        more = [a for a in ASSIGNMENTS if a.split("=")[0] not in given]
        more += SMALLER.get(words[0], [])
    if words[0] != "-m":
        words[0] = str(ROOT / words[0])
    return [sys.executable, *words, *more]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_python_command_of_the_readme_runs(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    lines = [line for line in commands() if line.startswith("python ")]
    for line in lines:
        if line.startswith("python benchmarks/"):
            continue
        command = as_a_test_runs_it(shlex.split(line), tmp_path)
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert len(lines) >= 20
    tables = {p.name for p in (tmp_path / "results" / "tables").iterdir()}
    assert {f"table{n}.tex" for n in (4, 5, 6, 7)} | {"tables.tex", "fig1.png"} <= tables
    for made in ("adaptation.png", "report.html", "records.parquet"):
        assert (tmp_path / "results" / made).exists()


def test_the_benchmarks_of_the_readme_exist() -> None:
    named = [line.split()[1] for line in commands() if line.startswith("python benchmarks/")]
    assert named
    for script in named:
        assert (ROOT / script).exists()
