"""Records under the names that earlier versions gave them: found while the files are the same."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from studies import ablation
from studies.__main__ import main as commands
from stvm.data.fingerprints import Contents
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.trial.recorded_name import named, refuse_other_files
from stvm.trial.run_and_record import run_and_record
from tests.helpers.named_folders import FOLDER, OFF, name, older_name, on
from tests.helpers.tiny_settings import ASSIGNMENTS, tiny

STRAYS = (
    *("real/test/labels/.DS_Store", "sim/train/images/Thumbs.db", "real/train/images/.nfs0001"),
    *("real/test/.directory", "sim/val/images/.ipynb_checkpoints/0-checkpoint.png"),
    "real/train/notes.txt",
)


def test_nothing_else_in_a_folder_counts(here: Path) -> None:
    now = name(on())
    older = older_name(on(n_f=32), True)
    Results(here / "results").write(older)
    for stray in STRAYS:
        (here / stray).parent.mkdir(exist_ok=True)
        (here / stray).write_text("x")
    assert name(on()) == now
    assert name(on(n_f=32)) == older.hash


def test_a_record_under_an_older_name_is_found_while_the_files_are_the_same(here: Path) -> None:
    results = Results(here / "results")
    # Names that the version before gave to these settings.
    source, adapted = on(**OFF).canonical(), on().canonical()
    assert (source.hash(), adapted.hash()) == ("f336fd8f7d88", "a3aef8015712")
    for settings in (source, adapted):
        results.write(older_name(settings, settings.method.st))
    for spelt in ("sim", "./sim", str(here / "sim")):
        assert name(on(spelt)) == "a3aef8015712" and name(on(spelt, **OFF)) == "f336fd8f7d88"
        record = run_and_record(on(spelt), results, here / "cache", torch.device("cpu"))
        assert record.hash == "a3aef8015712" and record.result == {"miou": 0.5}
    Image.new("RGB", (48, 32)).save(here / "real/train/images/0.png")
    assert name(on()) not in results.names()
    assert name(on(**OFF)) == "f336fd8f7d88"


def test_a_damaged_record_under_an_older_name_keeps_the_name_and_no_other_trial_from_its_own(
    here: Path,
) -> None:
    results = Results(here / "results")
    record = older_name(on().canonical(), True)
    results.write(record)
    results.record_path(record.hash).write_text("{")
    assert name(on()) == record.hash and name(on(seed=5)) not in results.names()
    found = named(on(), results, Contents(here / "cache"))
    refuse_other_files([found, on(seed=5)], results, Contents(here / "cache"))


def test_a_study_under_older_names_is_listed_and_goes_on_as_it_was(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*ASSIGNMENTS, *(f"{k}={v}" for k, v in FOLDER.items())]
    given += ["source_root=sim", "target_root=real", "--results", "results", "--cache", "cache"]
    changes = dict(item.split("=", 1) for item in given if "=" in item)
    built = ablation.build_study("demo", changes, [0], None)
    results = Results(here / "results")
    for trial in built.trials[:2]:
        results.write(older_name(trial.settings.canonical(), trial.variant != "Source"))
    assert ablation.main([*given, "--list"]) == 0
    said = capsys.readouterr().out
    assert said.count("mIoU 50.0") == 2 and f"{built.trials[0].hash}  Source" in said
    assert built.trials[-1].hash not in said
    rename = ablation_renaming(results, here / "cache")
    assert built.renamed(rename).base == built.base
    for path in (here / "real/test/images").iterdir():
        path.unlink()
    for number in range(3):
        Image.new("RGB", (48, 32)).save(here / f"real/test/images/{number}.png")
    renamed = built.renamed(ablation_renaming(results, here / "cache"))
    assert renamed.base != built.base
    assert not {t.hash for t in renamed.trials} & set(results.names())


def test_the_control_finds_the_trials_that_are_named_by_their_files(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*ASSIGNMENTS, *(f"{k}={v}" for k, v in FOLDER.items())]
    given += ["source_root=sim", "target_root=real", "--results", "results", "--cache", "cache"]
    given += ["--list", "--control"]
    assert ablation.main(given) == 2
    said = capsys.readouterr().err
    assert "weight from STvM_Raw seed 0, which" in said and "realisation" not in said
    changes = dict(item.split("=", 1) for item in given if "=" in item)
    trials = {
        t.variant: t.settings for t in ablation.build_study("demo", changes, [0], None).trials
    }
    raw = ablation_renaming(Results(here / "results"), here / "cache")(trials["STvM_Raw"])
    assert raw.hash() != trials["STvM_Raw"].hash()
    result = {"miou": 0.5, "curve": [], "parts": {"reliability": 0.25}}
    Results(here / "results").write(Record(raw.hash(), "done", raw.flat(), result))
    assert ablation.main(given) == 0
    assert "  Control seed 0" in capsys.readouterr().out
    Results(here / "results").record_path(raw.hash()).write_text("{")
    assert ablation.main(given) == 2
    assert "left out: Control seed 0: the record of its STvM_Raw" in capsys.readouterr().err


def ablation_renaming(results: Results, cache: Path) -> Callable[[Settings], Settings]:
    from studies.cli import renaming

    return renaming(results, cache)


def test_a_record_under_the_path_of_its_checkpoint_is_found(here: Path) -> None:
    (here / "a.pth").write_bytes(b"weights")
    older = tiny(source_checkpoint="a.pth").canonical()
    assert older.hash() == "52420fed2418"
    results = Results(here / "results")
    results.write(
        Record(
            older.hash(),
            "done",
            older.flat(),
            {"miou": 0.5},
            run={
                "source_sha256": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
            },
        )
    )
    for path in ("a.pth", "./a.pth", str(here / "a.pth")):
        assert name(tiny(source_checkpoint=path)) == older.hash()
    (here / "a.pth").write_bytes(b"wei9hts")
    assert name(tiny(source_checkpoint="a.pth")) not in results.names()


@pytest.mark.slow
def test_a_list_of_recorded_trials_on_folders_loads_no_torch(here: Path) -> None:
    for changes in (OFF, {}):
        Results(here / "results").write(older_name(on(**changes).canonical(), not changes))
    program = (
        "import sys; from studies.ablation import main\n"
        "assert main(sys.argv[1:] + ['--list']) == 0\n"
        "assert not {'torch', 'ray', 'scipy'} & set(sys.modules)"
    )
    given = [*ASSIGNMENTS, *(f"{k}={v}" for k, v in FOLDER.items())]
    given += ["source_root=sim", "target_root=real", "--results", "results"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    words = [sys.executable, "-c", program, *given]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_networks_of_a_replayed_trial_are_kept_under_its_older_name(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = run_and_record(on(**OFF), Results(here / "a"), here / "cache", torch.device("cpu"))
    named_by_place = older_name(on(**OFF).canonical(), False)
    older = replace(named_by_place, result=now.result, run=now.run | named_by_place.run)
    assert older.hash != now.hash
    Results(here / "b").write(older)
    given = ["replay", older.hash, "--results", "b", "--cache", "cache", "--keep-model"]
    assert commands(given) == 0
    path = Results(here / "b").model_path(older.hash)
    assert path.is_file() and f"its network lies in {path}" in capsys.readouterr().out
    assert commands(given) == 0
    assert f"is left as it is: {path}" in capsys.readouterr().err
