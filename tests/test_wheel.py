"""A wheel holds the library alone; an installation of the clone finds the commands too."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("stvm", "studies", "reports")
BUILD = "import sys; from setuptools import build_meta; build_meta.{kind}(sys.argv[1])"


def build(kind: str, root: Path) -> dict[str, str]:
    """Text of each file of a wheel built from a copy, without installing or downloading."""
    clone, out = root / "clone", root / "out"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "LICENSE"):
        shutil.copy(ROOT / name, clone / name)
    out.mkdir()
    program = BUILD.format(kind=kind)
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(out)],
        cwd=clone,
        env=plain,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = out.iterdir()
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name).decode() for name in file.namelist()}


@pytest.mark.slow
def test_a_wheel_holds_every_module_of_the_library_and_no_command(tmp_path: Path) -> None:
    held = {name for name in build("build_wheel", tmp_path) if ".dist-info/" not in name}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "stvm").rglob("*.py")}
    assert held == modules | {"stvm/py.typed"}


@pytest.mark.slow
def test_an_installation_of_the_clone_finds_library_and_commands(tmp_path: Path) -> None:
    held = build("build_editable", tmp_path)
    site, beside = tmp_path / "site", tmp_path / "beside"
    site.mkdir()
    for name in (name for name in held if ".dist-info/" not in name):
        (site / name).write_text(held[name])
    for name in PACKAGES:  # as a clone is named, or a folder of results
        (beside / name).mkdir(parents=True)
    names = ", ".join(PACKAGES)
    program = f"import site; site.addsitedir({str(site)!r}); import {names}\n"
    program += "\n".join(f"print({name}.__file__)" for name in PACKAGES)
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=beside, env=plain, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    files = [str(tmp_path / "clone" / name / "__init__.py") for name in PACKAGES]
    assert done.stdout.splitlines() == files
