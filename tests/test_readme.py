"""The commands of the README and of its pages run, on tiny settings."""

import contextlib
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
import torch
from PIL import Image

import stvm.tune.run_search
import stvm.tune.run_study
from studies import teacher
from stvm.data.cityscapes import CITYSCAPES
from stvm.networks import build_network
from stvm.pretrained import save_network
from stvm.settings import parse_assignments
from stvm.settings.peers import PEERS, PROCEDURES
from stvm.settings.presets import find_preset
from stvm.tune.cluster import connected
from stvm.tune.options import RunOptions
from tests.helpers.tiny_datasets import make_cityscapes, make_gta5
from tests.helpers.tiny_settings import ASSIGNMENTS, SMALL_SCENARIO

ROOT = Path(__file__).resolve().parents[1]


PAGES = ("studies", "own_images", "scenarios")
"""Pages of the docs whose commands run here; the README's come after them."""


def commands(*pages: Path) -> list[str]:
    """Commands of some pages in order, each once."""
    text = "\n".join(page.read_text() for page in pages)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))


def all_commands() -> list[str]:
    return commands(*(ROOT / "docs" / f"{page}.md" for page in PAGES), ROOT / "README.md")


def test_the_readme_makes_what_the_makefile_knows() -> None:
    makefile = (ROOT / "Makefile").read_text()
    readme = [line.split()[1] for line in commands(ROOT / "README.md") if line[:5] == "make "]
    assert readme == ["demo", "test"]
    for target in [line.split()[1] for line in all_commands() if line[:5] == "make "]:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_library_example_of_the_readme_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {"backbone": torch.nn.Conv2d(3, 8, 1), "classifier": torch.nn.Conv2d(8, 19, 1)}
    exec(example.replace('"cuda"', '"cpu"'), names)
    images = torch.rand(2, 3, 8, 8)
    assert names["network"](images).shape == (2, 19, 8, 8)
    labels, sure = torch.zeros(2, 8, 8, dtype=torch.long), torch.ones(2, 8, 8)
    output = names["metric"].train_step(names["backbone"](images), labels, sure)
    weights = names["reliability"](output.distances)
    assert weights.shape == (2, 8, 8) and weights.min() >= 0 and weights.max() <= 1


def test_the_table_of_objectives_names_procedures_and_what_they_need() -> None:
    readme = (ROOT / "README.md").read_text()
    section = readme.partition("## Objectives of others")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) >= 10
    for names, *_, network, _measured in rows:
        for name in re.findall(r"`(\w+)`", names):
            assert name in PROCEDURES
            needs = name == "adabn" or PEERS[name].needs_batch_norm
            assert network.strip() == ("with batch norm" if needs else "any"), name


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


def test_settings_in_the_commands_of_all_pages_fit_together() -> None:
    texts = [page.read_text() for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    lines = "\n".join(texts).replace("\\\n", " ").replace("`", "\n").splitlines()
    tried = 0
    for line in lines:
        words = shlex.split(line, comments=True) if re.match(r"python (stud|bench)", line) else []
        changes = [word for word in words if re.match(r"\w+=", word)]
        if not changes:
            continue
        preset = words[words.index("--preset") + 1] if "--preset" in words else "demo"
        assert find_preset(preset).settings(**parse_assignments(changes)), line
        tried += 1
    assert tried


SMALLER = {
    "studies/ablation.py": ["--seeds", "0"],
    "studies/optuna_search.py": ["--trials", "3", "--seeds", "0"],
    "studies/variance.py": ["--seeds", "0", "1"],
    "studies/readings.py": ["--list"],
    "studies/teacher.py": ["--list"],
}
"""Options that make a command of the README short enough for a test."""


SCENARIO = [
    *SMALL_SCENARIO,
    "protocol=image",
    "source_root=data/gta5",
    "target_root=data/cityscapes",
]
"""Settings of a scenario on tiny trees."""


def bring(folder: Path) -> None:
    """Make the user's own files: the folders of a scenario, a checkpoint and photos."""
    make_gta5(folder / "data" / "gta5")
    make_cityscapes(folder / "data" / "cityscapes", val=2)
    network = build_network("small_deeplab", 16, len(CITYSCAPES))
    save_network(network, folder / "source.safetensors", CITYSCAPES)
    (folder / "photos").mkdir()
    for name in ("road", "street"):
        Image.new("RGB", (60, 40)).save(folder / "photos" / f"{name}.png")


def as_a_test_runs_it(words: list[str], folder: Path) -> list[str]:
    """A command of a page on tiny settings, with a trial for HASH and a checkpoint for FILE."""
    kept = "models" if {"export-model", "predict"} & set(words) else "records"
    found = sorted(p.stem for p in (folder / "results" / kept).glob("*.*"))
    brought = str(folder / "source.safetensors")
    if "--expect" in words:
        # The score of a model after a few steps.
        words[words.index("--expect") + 1] = "1"
    words = [found[0] if word == "HASH" else word.replace("FILE", brought) for word in words[1:]]
    more: list[str] = []
    if {"checkpoint", "prepare", "studies/scenarios.py"} & set(words[:3]):
        more = SCENARIO
    elif "adapt" in words[:3]:
        more = ["iterations=2", "n_f=8"]
    elif words[0].startswith("studies/"):
        given = {word.split("=")[0] for word in words}
        if words[0] == "studies/teacher.py":
            given |= set(teacher.VARIED)
        more = [a for a in ASSIGNMENTS if a.split("=")[0] not in given]
        more += SMALLER.get(words[0], [])
    if words[0] != "-m":
        words[0] = str(ROOT / words[0])
    return [*words, *more]


@pytest.fixture
def one_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One Ray of one core for all commands of this process, which would start one each.

    A worker takes longer to start than a tiny trial to run, and two no less on two cores.
    """
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    with connected(RunOptions(None, None, None, Path())) as nodes:

        @contextlib.contextmanager
        def again(run_options: RunOptions) -> Iterator[list[dict[str, float]]]:
            assert run_options.address is None
            yield nodes

        for module in (stvm.tune.run_study, stvm.tune.run_search):
            monkeypatch.setattr(module, "connected", again)
        yield


def run_here(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Do what `python WORDS` does, in this process; the exit code."""
    module = words[1] if words[0] == "-m" else ""
    monkeypatch.setattr(sys, "argv", words[1:] if module else words)
    try:
        # Optuna's plots change the style of this process.
        with matplotlib.rc_context():
            if module:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def starts_fast(words: list[str]) -> bool:
    """Whether a command starts fast (no Ray, torch or plots), so that a new process may run it."""
    with_torch = ("replay", "checkpoint", "memory", "export-model", "adapt", "predict")
    return "--list" in words or (words[0] == "-m" and words[2] not in with_torch)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("pages", ["README", pytest.param("all", marks=pytest.mark.long)])
def test_every_python_command_of_the_pages_runs(
    pages: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # Ray itself runs a study in `test_commands.py`, and a search in `test_search_command.py`.
    request.getfixturevalue("tune_here" if pages == "README" else "one_ray")
    monkeypatch.chdir(tmp_path)
    bring(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    given = commands(ROOT / "README.md") if pages == "README" else all_commands()
    lines = [line for line in given if line.startswith("python ")]
    for line in lines:
        if line.startswith("python benchmarks/"):
            continue
        words = as_a_test_runs_it(shlex.split(line), tmp_path)
        if starts_fast(words):
            code = subprocess.run([sys.executable, *words], env=environment).returncode
        else:
            code = run_here(words, monkeypatch)
        said = capfd.readouterr()
        assert code == 0, f"{line}\n{said.out}\n{said.err}"
    tables = {p.name for p in (tmp_path / "results" / "tables").iterdir()}
    assert {"table1.tex", "table4.tex", "tables.tex"} <= tables
    assert (tmp_path / "results" / "report.html").exists()
    if pages == "README":
        assert len(lines) >= 10
        return
    assert len(lines) >= 26
    assert {f"table{n}.tex" for n in (5, 6, 7)} | {"fig1.png"} <= tables
    for made in ("adaptation.png", "records.parquet"):
        assert (tmp_path / "results" / made).exists()
    assert (tmp_path / "stvm.pth").exists()


def test_the_benchmarks_that_pages_name_exist() -> None:
    named = [line.split()[1] for line in all_commands() if line.startswith("python benchmarks/")]
    assert named
    for script in named:
        assert (ROOT / script).exists()
