"""A record knows the figure of its source model, whichever training settings its row Source has."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from stvm.data.fingerprints import Contents
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.records.schema import Run
from stvm.settings import Settings
from stvm.trial.source_figure import recorded_source_miou
from tests.helpers.tiny_settings import tiny

OFF = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
CROPS = {"source_crop_height": 32, "source_crop_width": 32}


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"weights")
    return {"source_checkpoint": str(path)}


class Folder:
    """A results folder with made-up records."""

    def __init__(self, root: Path) -> None:
        self.results, self.contents = Results(root / "results"), Contents(root / "cache")

    def add(self, miou: float, **changes: Any) -> str:
        settings = self.contents.identified(tiny(**changes)).canonical()
        record = Record(settings.hash(), "done", settings.flat(), {"miou": miou})
        self.results.write(record)
        return record.hash

    def miou(self, settings: Settings) -> float | None:
        known = self.contents.identified(settings).canonical()
        return recorded_source_miou(known, self.results, self.contents)


@pytest.mark.parametrize(
    "other",
    [{"weight_decay": 1e-4}, {"momentum": 0.8}, {"poly_power": 1.0}, {"crop_height": 16}],
)
def test_settings_that_do_not_matter_to_a_checkpoint_hide_no_figure(
    other: dict[str, Any], weights: dict[str, str], tmp_path: Path
) -> None:
    """TENT refuses a weight decay that the other rows of a study may have."""
    folder = Folder(tmp_path)
    tent = tiny().replace(procedure="tent", **weights)
    assert folder.miou(tent) is None
    folder.add(0.9, **weights, **other)
    folder.add(0.8, **weights, **other, **OFF, eval_split="val")
    folder.add(0.7, **weights, **other, **OFF, gap=0.5)
    folder.add(0.6, **other, **OFF)
    (folder.results.root / "records" / f"{'0' * 12}.json").write_text("{")
    assert folder.miou(tent) is None
    folder.add(0.4, **weights, **other, **OFF)
    assert folder.miou(tent) == 0.4 == folder.miou(tiny(**weights))
    folder.add(0.3, **weights, **OFF)
    assert folder.miou(tent) == 0.3


def test_a_source_model_of_another_training_is_another_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.add(0.5, **OFF, weight_decay=1e-4)
    folder.add(0.6, **OFF, **CROPS, crop_height=16, source_lr=0.5)
    assert folder.miou(tiny()) is None and folder.miou(tiny(**CROPS)) is None
    # Crops of the target matter to a source model only where its own have no size.
    folder.add(0.4, **OFF, **CROPS, crop_height=16)
    assert folder.miou(tiny(**CROPS)) == 0.4 and folder.miou(tiny()) is None


def test_a_row_of_other_weights_at_the_same_path_gives_no_figure(tmp_path: Path) -> None:
    """Names of earlier versions have the path, which the row's own damaged record has too."""
    folder, path = Folder(tmp_path), tmp_path / "weights.pth"
    path.write_bytes(b"weights of now")
    by_path = Settings().replace(source_checkpoint=str(path), **OFF)
    own = by_path.canonical()
    (folder.results.root / "records").mkdir(parents=True)
    folder.results.record_path(own.hash()).write_text("{")
    for weights, decay, miou in ((b"of before", 1e-4, 0.9), (b"weights of now", 1e-3, 0.4)):
        assert folder.miou(Settings().replace(source_checkpoint=str(path))) is None
        other = by_path.replace(weight_decay=decay).canonical()
        run = Run(source_sha256=hashlib.sha256(weights).hexdigest())
        folder.results.write(Record(other.hash(), "done", other.flat(), {"miou": miou}, run=run))
    assert folder.miou(Settings().replace(source_checkpoint=str(path))) == 0.4
