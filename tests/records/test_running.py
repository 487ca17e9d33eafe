"""The sign of a running task: iterations and passes over images."""

import json
from pathlib import Path
from typing import Any

import pytest

from studies.commands.running_work import share
from stvm.records import running
from stvm.records.running import read_sign, signed


def test_a_sign_tells_iterations_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "WRITE_EVERY_S", 0.0)
    path, heard = tmp_path / "a.json", []

    class Hears:
        def __call__(self, *told: Any) -> None:
            heard.append(told)

        def tell_pass(self, *told: Any) -> None:
            heard.append(told)

    def shown() -> str:
        sign = read_sign(path)
        assert sign
        return share(sign)

    with signed(path, "label", tmp_path / "a.lock", Hears()) as told:
        told.tell_pass("start_bn=0.5", 3, 12)  # type: ignore[attr-defined]
        assert shown() == "start_bn=0.5: image 3 of 12, 25 %"
        told(30, 60)
        assert shown() == "iteration 30 of 60, 50 %"
        older = json.loads(path.read_text())
        del older["stage"]
        path.write_text(json.dumps(older))
        assert shown() == "iteration 30 of 60, 50 %"
    assert heard == [("start_bn=0.5", 3, 12), (30, 60)]
    with signed(None, "label", tmp_path / "a.lock", lambda *_: None) as told:
        told.tell_pass("start_bn=0.5", 3, 12)  # type: ignore[attr-defined]
