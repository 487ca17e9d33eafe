"""Trials on published data sets: what is checked before they start, what their records hold."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stvm.data.fingerprints import Contents
from stvm.errors import StvmError
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.trial.inputs import check_inputs
from stvm.trial.recorded_name import refuse_other_files
from stvm.trial.run_and_record import run_and_record
from tests.helpers.tiny_datasets import make_cityscapes, make_crosscity, make_gta5
from tests.helpers.tiny_settings import tiny

OFF: dict[str, Any] = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    make_gta5(root / "gta5")
    make_cityscapes(root / "cityscapes")
    make_crosscity(root / "crosscity", "rome")
    return root


def on(root: Path, dataset: str, **changes: Any) -> Settings:
    source, target = dataset.split("_")
    roots = {"source_root": str(root / source), "target_root": str(root / target)}
    city = {"city": "rome"} if target == "crosscity" else {"eval_split": "val"}
    return tiny(dataset=dataset, source_height=48, source_width=80, **roots, **city, **changes)


@pytest.mark.parametrize(
    ("dataset", "classes"), [("gta5_cityscapes", 19), ("cityscapes_crosscity", 13)]
)
def test_a_source_model_is_trained_and_scored(
    made: Path, tmp_path: Path, dataset: str, classes: int
) -> None:
    settings, results = on(made, dataset, **OFF), Results(tmp_path / "results")
    check_inputs([settings])
    record = run_and_record(settings, results, tmp_path, torch.device("cpu"), "Source")
    assert record.status == "done"
    assert len(record.result["class_names"]) == len(record.result["iou"]) == classes
    # GTA5 without its split file has no held-out images; Cityscapes has.
    assert (record.result["source_val_miou"] is None) == (dataset == "gta5_cityscapes")
    assert record.run["images_sha256"]
    refuse_other_files([settings], results, Contents(tmp_path))
    # Where the images lie does not name a trial; which they are is still looked at.
    elsewhere = on(made, dataset, **OFF).replace(target_root=str(made / "elsewhere"))
    assert elsewhere.hash() == settings.hash()
    with pytest.raises(StvmError, match="recorded with other files in"):
        refuse_other_files([elsewhere], results, Contents(tmp_path))


@pytest.mark.slow
def test_the_method_runs_from_prepared_images_as_from_the_originals(
    made: Path, tmp_path: Path
) -> None:
    from studies.__main__ import main

    settings = on(made, "gta5_cityscapes", height=48, width=96)
    given = ["dataset", "eval_split", "source_root", "target_root", "height", "width"]
    given += ["source_height", "source_width", "crop_height", "crop_width"]
    flat = settings.flat()
    assigned = [f"{name}={flat[name]}" for name in given]
    cache = tmp_path / "prepared"
    assert main(["prepare", "--cache", str(cache), "--workers", "1", *assigned]) == 0
    device = torch.device("cpu")
    records = [
        run_and_record(settings, Results(folder / "results"), folder, device, "STvM")
        for folder in (cache, tmp_path / "decoded")
    ]
    assert records[0].result == records[1].result


def test_what_cannot_be_is_refused_before_anything_runs(made: Path) -> None:
    with pytest.raises(StvmError, match="set eval_split=val"):
        check_inputs([on(made, "gta5_cityscapes").replace(eval_split="test")])
    with pytest.raises(StvmError, match="set eval_split=test"):
        check_inputs([on(made, "cityscapes_crosscity").replace(eval_split="val")])
    with pytest.raises(StvmError, match="an oracle is not possible"):
        check_inputs([on(made, "cityscapes_crosscity", procedure="oracle", **OFF)])
