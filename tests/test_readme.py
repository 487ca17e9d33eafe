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
