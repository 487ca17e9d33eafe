"""A trial whose network is kept, for commands that read it."""

from pathlib import Path

import pytest
import torch

from stvm.records.results import Results
from stvm.trial.run_and_record import run_and_record
from tests.helpers.tiny_settings import tiny


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Results of a trial that keeps its networks; its student is reported."""
    root = tmp_path_factory.mktemp("kept")
    settings = tiny(keep_model=True, evaluated="student")
    run_and_record(settings, Results(root), cache, torch.device("cpu"), "STvM")
    return root
