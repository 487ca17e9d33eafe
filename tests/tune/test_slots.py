"""Slots of clusters, counted by hand: what a trial takes comes from one node."""

from typing import Any

import pytest

from stvm.errors import StvmError
from stvm.tune.slots import plan_slots


def node(cpus: float, gpus: float = 0, **more: float) -> dict[str, float]:
    """A node as Ray describes it: what it has none of is left out."""
    counted = {"CPU": float(cpus), "GPU": float(gpus)} | more
    return {name: value for name, value in counted.items() if value}


HEAD = node(64)

# Nodes, options (cores and GPUs a trial), and what a person with pencil and paper gives each
# trial and counts: cores, GPUs, trials at a time.
COUNTED: list[tuple[str, list[dict[str, float]], tuple[Any, Any], tuple[int, float, int]]] = [
    ("a laptop", [node(2)], (None, None), (1, 0, 2)),
    ("two CPU nodes", [node(4), node(2)], (None, None), (1, 0, 6)),
    ("three cores each, in 8", [node(8)], (3, None), (3, 0, 2)),
    ("three cores each, never from two nodes", [node(4), node(2)], (3, None), (3, 0, 1)),
    ("a workstation", [node(16, 2)], (None, None), (8, 1, 2)),
    ("16 cores for 8 GPUs", [node(16, 8)], (None, None), (2, 1, 8)),
    ("12 cores for 8 GPUs", [node(12, 8)], (None, None), (1, 1, 8)),
    ("a head node and two of 8 GPUs", [HEAD, node(16, 8), node(16, 8)], (None, None), (2, 1, 16)),
    ("a head node and a small one", [HEAD, node(4, 1)], (None, None), (4, 1, 1)),
    ("a head node without cores", [node(0), node(8, 4)], (None, None), (2, 1, 4)),
    ("4 a GPU and 3 a GPU", [node(16, 4), node(6, 2)], (None, None), (3, 1, 6)),
    ("many cores and few", [node(64, 8), node(2, 1)], (None, None), (2, 1, 9)),
    ("asked: 4 cores, 8 GPUs idle", [HEAD, node(16, 8), node(16, 8)], (4, None), (4, 1, 8)),
    ("asked: 8 cores, one node has not", [node(16, 2), node(4, 1)], (8, None), (8, 1, 2)),
    ("fewer cores than GPUs", [node(4, 8)], (None, None), (1, 1, 4)),
    ("GPUs not wanted", [HEAD, node(16, 8)], (None, 0), (1, 0, 80)),
    ("two GPUs a trial", [node(16, 4), node(16, 3)], (None, 2), (8, 2, 3)),
    ("half a GPU", [node(4, 1)], (1, 0.5), (1, 0.5, 2)),
    ("half a GPU, cores shared", [HEAD, node(8, 2)], (None, 0.5), (2, 0.5, 4)),
    # Two trials a GPU; a fifth would be 0.2 of one GPU and 0.2 of the other.
    ("0.4 of two GPUs", [node(16, 2)], (1, 0.4), (1, 0.4, 4)),
    ("a third of a GPU", [node(8, 1)], (1, 1 / 3), (1, 1 / 3, 3)),
    ("a tenth", [node(32, 1)], (1, 0.1), (1, 0.1, 10)),
]


@pytest.mark.parametrize(
    ("nodes", "asked", "counted"), [c[1:] for c in COUNTED], ids=[c[0] for c in COUNTED]
)
def test_slots_are_those_counted_by_hand(
    nodes: list[dict[str, float]], asked: tuple[Any, Any], counted: tuple[int, float, int]
) -> None:
    slots = plan_slots(nodes, *asked)
    assert (slots.cpus, slots.gpus, slots.count) == counted


def test_slots_are_those_that_others_leave_and_never_none() -> None:
    nodes = [node(4), node(2)]
    assert plan_slots(nodes, None, None, free=[{"CPU": 1.5}, {"CPU": 2.0}]).count == 3
    assert plan_slots(nodes, None, None, free=[{}, {}]).count == 1
    with pytest.raises(StvmError, match="lower --cpus-per-trial"):
        plan_slots(nodes, 5, None, free=[{}, {}])
    # Others have 3 of 8 GPUs here and all cores but 3 there; the head node's are of no use.
    nodes = [HEAD, node(16, 8), node(16, 8)]
    free = [HEAD, node(10, 5), node(3, 8)]
    slots = plan_slots(nodes, None, None, free=free)
    assert (slots.cpus, slots.count) == (2, 5 + 1)
    # Two halves and three quarters of a GPU are left: 1 + 1 halves, 2 + 1 quarters.
    left = [node(8, 0.5), node(8, 0.75)]
    assert plan_slots([node(8, 1)] * 2, 1, 0.5, free=left).count == 2
    assert plan_slots([node(8, 1)] * 2, 1, 0.25, free=left).count == 5


@pytest.mark.parametrize(
    ("nodes", "asked", "words"),
    [
        ([node(2)], (3, None), "3 cores and 0 GPUs, but no node has more than 2 cores.*--cpus-per"),
        ([node(2)], (1, 1.0), "1 core and 1 GPU, but no node has more than 0 GPUs.*--gpus-per"),
        ([HEAD, node(8, 1)], (1, 2.0), "no node has more than 1 GPU: lower --gpus-per-trial"),
        (
            [HEAD | {"node:10.0.0.1": 1.0}, node(4, 1) | {"node:10.0.0.2": 1.0}],
            (8, None),
            "8 cores and 1 GPU, but node 10.0.0.2 has 4 cores and 1 GPU: lower --cpus-per-trial",
        ),
        ([HEAD, *[node(4, 1)] * 9], (8, None), "node 2 .*node 4 .* and 6 more nodes likewise"),
    ],
)
def test_what_no_node_can_hold_is_one_line_that_names_the_nodes(
    nodes: list[dict[str, float]], asked: tuple[Any, Any], words: str
) -> None:
    with pytest.raises(StvmError, match=words) as caught:
        plan_slots(nodes, *asked)
    assert "\n" not in str(caught.value)


def test_a_node_whose_cores_do_not_suffice_is_named_with_what_stays_idle() -> None:
    two = [node(16, 2) | {"node:10.0.0.1": 1.0, "node:__internal_head__": 1.0}, node(4, 1)]
    assert plan_slots(two, 8, None).notes == (
        "node 2 has 4 cores and 1 GPU: 0 trials with 8 cores each, so 1 GPU without work; "
        "lower --cpus-per-trial",
    )
    assert plan_slots(two, None, None).notes == ()
    (note,) = plan_slots([node(4, 8) | {"node:10.0.0.1": 1.0}], None, None).notes
    assert "node 10.0.0.1 has 4 cores and 8 GPUs: 4 trials" in note and "4 GPUs without" in note


def test_gpus_of_several_kinds_are_said_where_trials_use_them() -> None:
    mixed = [
        node(8, 1) | {"accelerator_type:A100": 1.0},
        node(8, 1) | {"accelerator_type:T4": 1.0},
    ]
    (note,) = plan_slots(mixed, None, None).notes
    assert "A100, T4" in note
    assert plan_slots(mixed, None, 0).notes == () == plan_slots(mixed[:1], None, None).notes
