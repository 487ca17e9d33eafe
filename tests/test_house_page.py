"""docs/architecture.md names the rooms, the order of imports and the places of the code."""

import re
from pathlib import Path

from tests.test_imports import LAYERS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_order_of_imports_is_the_one_that_is_tested() -> None:
    listed = re.findall(r"^\d+\. (.+)$", PAGE, re.MULTILINE)
    assert [tuple(line.split(", ")) for line in listed] == [*LAYERS]


def test_every_room_has_a_line() -> None:
    named = re.findall(r"^\| `([\w/.]+)` \|", PAGE, re.MULTILINE)
    rooms = {Path(name).stem for name in named}
    assert len(named) == len(rooms) and rooms == {name for layer in LAYERS for name in layer}


def test_places_exist() -> None:
    paths = set(re.findall(r"`((?:stvm|studies|reports|tests|benchmarks)/[\w/.]*)`", PAGE))
    missing = {path for path in paths if not (ROOT / path).exists()}
    assert missing == set(re.findall(r"`([\w/]+)`[^|]*\(not there yet\)", PAGE))
    assert len(paths) > 20
