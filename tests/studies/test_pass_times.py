"""`checkpoint --score` says how long it takes, and how far it is."""

from pathlib import Path

import pytest
import torch
from torch import nn

from studies.__main__ import main
from studies.commands import pass_times
from stvm.settings.presets import find_preset
from stvm.source_model.location import source_path
from stvm.trial.run import run_trial
from tests.helpers.tiny_settings import ASSIGNMENTS, tiny

OFF = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)


@pytest.mark.slow
@pytest.mark.parametrize("multi_scale", [False, True])
def test_the_pixels_foreseen_are_those_that_pass(
    multi_scale: bool, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pixels are counted in a trial itself, with the small network."""
    monkeypatch.setattr(pass_times, "_EXTRACTORS", (nn.Sequential,))
    settings = tiny(multi_scale=multi_scale, **OFF)
    run_trial(settings, cache, torch.device("cpu"))
    seen: list[int] = []
    with pass_times.watching_passes(seen.append):
        run_trial(settings, cache, torch.device("cpu"))
    planned = pass_times.planned_pixels(settings, cache)
    assert sum(seen) == planned
    with pass_times.watching_passes(seen.append):
        pass
    run_trial(settings, cache, torch.device("cpu"))
    assert sum(seen) == planned


def test_what_is_left_is_told_every_half_minute() -> None:
    """A quarter in 31 s leaves 93 s; three quarters in 62 s leave 21 s."""
    clock = iter([0.0, 10.0, 31.0, 40.0, 62.0, 80.0])
    lines: list[str] = []
    told = pass_times.Told(800, lines.append, lambda: next(clock))
    for pixels in (100, 100, 100, 300, 200):
        told(pixels)
    assert lines == ["  25 % done, about 2 min left", "  75 % done, about 21 s left"]


def test_the_command_says_how_long_it_will_take(
    tmp_path: Path, with_source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ASSIGNMENTS
    settings = find_preset("demo").settings(**dict(item.split("=") for item in given))
    file = source_path(settings, with_source)
    line = ["checkpoint", str(file), "--preset", "demo", "--score", *given]
    line += ["--results", str(tmp_path), "--cache", str(with_source)]
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "passes of 128x64 pixels: about" in said and "on the CPU, without a GPU" in said
    assert main(line) == 0
    assert "passes of" not in capsys.readouterr().out
