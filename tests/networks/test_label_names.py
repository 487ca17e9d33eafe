"""Class names in a folder of Hugging Face: real names alone, and all of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from stvm.errors import StvmError
from stvm.networks.label_names import class_names_of


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ({"1": "car", "0": "road", "2": "sky"}, ("road", "car", "sky")),
        ({str(n): f"class {n}" for n in range(12)}, tuple(f"class {n}" for n in range(12))),
        ({"0": "LABEL_0", "1": "LABEL_1"}, ()),
        ({"0": "road", "2": "sky"}, ()),
        ({"0": "road", "1": ""}, ()),
        ({}, ()),
    ],
)
def test_names_are_in_the_order_of_their_numbers(
    labels: dict[str, str], names: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"id2label": labels}))
    assert class_names_of(tmp_path) == names


def test_a_file_that_is_missing_names_nothing_and_a_broken_one_is_one_line(tmp_path: Path) -> None:
    assert class_names_of(tmp_path / "nowhere") == () == class_names_of(tmp_path)
    broken: tuple[Any, ...] = (("{", "cannot read .*config.json"), ("[]", "holds no JSON object"))
    for text, message in broken:
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(StvmError, match=message):
            class_names_of(tmp_path)
