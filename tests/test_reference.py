"""The reference and the notebook: complete, built without a warning, and run."""

import inspect
import re
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import stvm
from tests.test_plain_words import entries

ROOT = Path(__file__).resolve().parents[1]
CONTENTS = (ROOT / "docs" / "reference" / "index.rst").read_text(encoding="utf-8")
NAMES = sorted(set(stvm.__all__) - {"__version__"})
METHODS = {
    name: re.findall(r"\w+", listed)
    for name, listed in re.findall(r"autoclass:: (\w+)\n +:members: (.+)", CONTENTS)
}
DOCUMENTED = [*NAMES, *(f"{name}.{method}" for name in METHODS for method in METHODS[name])]
SHAPES_ELSEWHERE = {"ClassThresholds.update", "ClassThresholds.select"}
"""Methods whose docstring says "shapes as in `forward`"."""


SHAPE = r"\([NPC1], |\([PC],\)|scalar|shape|whole batch"


def documented(name: str) -> Any:
    outer, _, method = name.partition(".")
    return getattr(getattr(stvm, outer), method) if method else getattr(stvm, outer)


def test_the_reference_lists_every_public_name() -> None:
    listed = re.findall(r"auto(?:class|function|exception):: (\w+)", CONTENTS)
    assert sorted(listed) == NAMES


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_docstring_describes_every_argument_and_the_shape_of_every_tensor(name: str) -> None:
    value = documented(name)
    text = inspect.getdoc(value) or ""
    described = dict(entries(text))
    if value is stvm.StvmError:
        return
    parameters = [p for p in inspect.signature(value).parameters.values() if p.name != "self"]
    if name in SHAPES_ELSEWHERE:
        assert "shapes as in `forward`" in text.lower()
    elif not described and all("Tensor" in str(p.annotation) for p in parameters):
        assert not parameters or re.search(r"\([NC], ", text)
    elif value is stvm.StepReport:
        assert "the tensors are scalars" in text and {p.name for p in parameters} == set(described)
    else:
        assert {p.name for p in parameters} <= described.keys()
        for parameter in parameters:
            kind = str(parameter.annotation)
            if "Tensor" in kind and "Callable" not in kind:
                whole = re.search(rf"^ +{parameter.name}: (.*?)(?=^ *\w+:|\Z)", text, re.M | re.S)
                assert whole and re.search(SHAPE, whole[1])


@pytest.mark.slow
@pytest.mark.long
def test_the_reference_is_built_without_a_warning(tmp_path: Path) -> None:
    words = ["-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(tmp_path / "doctrees")]
    words += ["docs/reference", str(tmp_path / "html")]
    done = run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    assert all(f'id="stvm.{name}"' in page for name in DOCUMENTED)


NOTEBOOK = ROOT / "examples" / "adaptation.ipynb"


def test_the_notebook_is_small_and_names_no_place() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 400_000
    assert not re.search(r"/(home|root|work|tmp|usr|Users)/", text)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVM_EXAMPLE", "quick")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    printed = "".join(o["text"] for o in outputs if o["output_type"] == "stream")
    assert re.search(r"source model +[\d.]+ mIoU\nAdaBN +[\d.]+ mIoU\nSTvM +[\d.]+ mIoU", printed)
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 3
