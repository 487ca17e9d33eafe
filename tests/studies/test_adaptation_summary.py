"""The lines about a finished adaptation, from values written by hand."""

from typing import Any

import pytest

from studies.commands.adaptation_summary import summary


def facts(collapsed: bool = False, idle: tuple[str, ...] = ()) -> dict[str, Any]:
    table = [[0.5, 0.02, 0.0004], [0.1, 0.3, 0.0], [0.03, 0.0496, 0.0]]
    changes = {"images": 7, "changed": 0.2, "from_to": table}
    changes |= {"entropy": [0.41, 0.32], "information": [0.9, 1.1]}
    return {
        "result": {"collapsed": collapsed, "idle": list(idle), "changes": changes},
        **{"seconds": 81.6, "settings": {"iterations": 200}, "classes": ["road", "tree", "sky"]},
    }


def test_every_figure_is_said_with_the_largest_changes_first() -> None:
    assert [*summary(facts(), 0.4)] == [
        "82 s: 200 iterations of 0.4 s",
        "predicted classes: not collapsed",
        "parts of the method: each that is on did something",
        "20.0 % of the pixels of 7 images changed class (tree to road 10.0 %, sky to tree 5.0 %, "
        "sky to road 3.0 %)",
        "scores without labels, in nats: entropy 0.410 before and 0.320 after, information 0.900 "
        "before and 1.100 after",
    ]


def test_what_went_wrong_is_said_with_what_to_do() -> None:
    time, classes, parts, *_ = summary(
        facts(True, ("aug: no image", "mocm: no patch")) | {"resumed_from": 120}, None
    )
    assert time == "82 s: 200 iterations, 120 of them earlier"
    assert "collapsed to less than half" in classes and "lower lr" in classes
    assert parts == "parts of the method: aug: no image; mocm: no patch"


@pytest.mark.parametrize(("share", "said"), [(0.0011, " (a to b 0.1 %)"), (0.0009, "")])
def test_a_change_of_less_than_a_thousandth_is_not_named(share: float, said: str) -> None:
    given = facts() | {"classes": ["a", "b"]}
    given["result"]["changes"] |= {"changed": share, "from_to": [[1 - share, share], [0.0, 0.0]]}
    assert [*summary(given, None)][3] == f"0.1 % of the pixels of 7 images changed class{said}"
