"""A new objective costs one file, one group of settings and one row."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FILE = '''"""A toy."""

from stvm.objectives.objective import Given, Objective


class Toy(Objective):
    def __init__(self, given, *, weight):
        super().__init__(given)
        self.weight = weight

    def losses(self, batch, iteration):
        yield self.weight * self.given.predict(batch.images).square().mean()
'''
GROUP = '''"""Settings of a toy."""

from stvm.settings.fields import SettingsGroup, hashed_if_changed


class ToySettings(SettingsGroup):
    """A toy."""

    toy_weight: float = hashed_if_changed(1.0, gt=0, description="Weight of the loss.")
'''
ROW = '    "toy": Peer("a toy", "toy:Toy", ToySettings),\n'
IMPORT = "from stvm.settings.peer_settings.toy_settings import ToySettings\n"

TRIAL = """
import json, sys, torch
from pathlib import Path
from stvm.errors import StvmError
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.trial.run_and_record import run_and_record
from benchmarks.tiny_trial import TINY_TRIAL
plain = Settings().replace(**TINY_TRIAL, crop_height=32, crop_width=32)
settings = plain.replace(procedure="toy", toy_weight=2.0)
here = Path(sys.argv[1])
record = run_and_record(settings, Results(here), here / "cache", torch.device("cpu"))
try:
    plain.replace(toy_weight=2.0)
    told = ""
except StvmError as error:
    told = str(error)
curve = len(record.result["curve"])
print(json.dumps([record.status, record.settings["toy_weight"], curve, told, plain.hash()]))
"""


@pytest.mark.slow
def test_a_toy_trains_from_one_file_one_group_and_one_row(tmp_path: Path) -> None:
    copy = tmp_path / "code"
    shutil.copytree(ROOT / "stvm", copy / "stvm", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "benchmarks").mkdir()
    shutil.copy(ROOT / "benchmarks" / "tiny_trial.py", copy / "benchmarks")
    (copy / "stvm" / "objectives" / "toy.py").write_text(FILE)
    (copy / "stvm" / "settings" / "peer_settings" / "toy_settings.py").write_text(GROUP)
    rows = copy / "stvm" / "settings" / "peers.py"
    text = rows.read_text()
    begin = "PEERS: dict[str, Peer] = {\n"
    first = "from stvm.settings.fields import SettingsGroup\n"
    assert begin in text and first in text
    rows.write_text(text.replace(begin, begin + ROW).replace(first, first + IMPORT))
    environment = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run(
        [sys.executable, "-c", TRIAL, str(tmp_path / "results")],
        capture_output=True,
        text=True,
        cwd=copy,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    status, weight, points, told, name = json.loads(done.stdout.splitlines()[-1])
    assert (status, weight, points) == ("done", 2.0, 6)
    assert told.endswith("it belongs to procedure=toy; leave it out")
    # No recorded trial gets another name.
    assert name == plain_name()


def plain_name() -> str:
    from benchmarks.tiny_trial import TINY_TRIAL
    from stvm.settings import Settings

    return Settings().replace(**TINY_TRIAL, crop_height=32, crop_width=32).hash()
