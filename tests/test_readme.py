"""The commands of the README run as they stand there, on tiny settings."""

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


@pytest.mark.slow
def test_every_python_command_of_the_readme_runs(tmp_path: Path) -> None:
    ran = 0
    for line in commands():
        words = shlex.split(line)
        if words[0] != "python":
            continue
        more: list[str] = []
        if words[1].startswith("studies/"):
            given = {word.split("=")[0] for word in words}
            more = [a for a in ASSIGNMENTS if a.split("=")[0] not in given]
        command = [sys.executable, str(ROOT / words[1]), *words[2:], *more]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        ran += 1
    assert ran >= 7
    assert (tmp_path / "results/tables/table4.tex").exists()
    assert (tmp_path / "results/adaptation.png").exists()
