"""Slots of a cluster: number and resources of the trials at a time, planned node by node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stvm.errors import StvmError

MOST_CORES = 8
"""Cores of a trial with a GPU, unless more are asked for."""
_ROUNDING = 1e-6
"""More than a sum of fractions is off by, less than the ten-thousandths in which Ray counts."""

Resources = Mapping[str, float]


@dataclass(frozen=True)
class Slots:
    """Resources of one trial, and how many trials fit at a time.

    Attributes:
        cpus: cores.
        gpus: GPUs, or the part of one.
        count: trials at a time.
        notes: a line for each thing that stays idle, or differs between nodes.
    """

    cpus: int
    gpus: float
    count: int
    notes: tuple[str, ...] = ()


def plan_slots(
    nodes: Sequence[Resources],
    cpus: int | None,
    gpus: float | None,
    free: Sequence[Resources] | None = None,
) -> Slots:
    """Resources of a trial on these nodes.

    Ray gives a trial all it asks for on one node, and asks the same of each node. So cores are
    what the nodes with GPUs can give: as many as leave no GPU without a trial.

    Args:
        nodes: resources of each node by Ray's names (CPU, GPU).
        cpus: asked for; None for one core, or with GPUs an equal share of up to 8.
        gpus: asked for; None for one where there are any.
        free: resources of each node that others have left; None for all. If no trial fits now, the
            first one waits for room, so one slot is the least.

    Raises:
        StvmError: no node can hold one trial, which Ray would leave pending without a word.
    """
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    if cpus is None:
        cpus = _cores(nodes, gpus)
    fits = sum(_fit(node, cpus, gpus) for node in nodes)
    if not fits:
        raise StvmError(_too_much(nodes, cpus, gpus))
    notes = (*_idle(nodes, cpus, gpus), *_kinds(nodes, gpus))
    if free is not None:
        fits = max(1, sum(_fit(node, cpus, gpus) for node in free))
    return Slots(cpus, gpus, fits, notes)


def cpus_of(node: Resources) -> int:
    """Cores of a node."""
    return int(node.get("CPU", 0))


def _cores(nodes: Sequence[Resources], gpus: float) -> int:
    """The most cores with which as many trials fit as with one core each."""
    if gpus == 0:
        return 1

    def trials(cores: int) -> int:
        return sum(_fit(node, cores, gpus) for node in nodes)

    return max(n for n in range(1, MOST_CORES + 1) if trials(n) == trials(1))


def _fit(node: Resources, cpus: int, gpus: float) -> int:
    by_cores = cpus_of(node) // cpus
    return min(by_cores, _by_gpus(node, gpus)) if gpus else by_cores


def _by_gpus(node: Resources, gpus: float) -> int:
    """Trials that find a GPU; a part of one is never put together from two."""
    there = node.get("GPU", 0) + _ROUNDING
    if gpus >= 1:
        return int(there // gpus)
    whole, rest = divmod(there, 1)
    return int(whole) * int(1 / gpus + _ROUNDING) + int(rest / gpus)


def _told(nodes: Sequence[Resources]) -> list[str]:
    """Name and resources of each node, for people."""
    return [
        f"{_name(node, number)} has {_count(cpus_of(node), 'core')} and "
        f"{_count(node.get('GPU', 0), 'GPU')}"
        for number, node in enumerate(nodes, start=1)
    ]


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}{'s' * (number != 1)}"


def _name(node: Resources, number: int) -> str:
    """The node by its address, which Ray keeps among the resources."""
    for key in node:
        if key.startswith("node:") and not key.startswith("node:__"):
            return f"node {key.removeprefix('node:')}"
    return f"node {number}"


def _too_much(nodes: Sequence[Resources], cpus: int, gpus: float) -> str:
    asked = f"a trial asks for {_count(cpus, 'core')} and {_count(gpus, 'GPU')}, but"
    if not gpus:
        cores = max(cpus_of(node) for node in nodes)
        return f"{asked} no node has more than {_count(cores, 'core')}: lower --cpus-per-trial"
    enough = [told for node, told in zip(nodes, _told(nodes), strict=True) if _by_gpus(node, gpus)]
    if not enough:
        most = max(node.get("GPU", 0) for node in nodes)
        return f"{asked} no node has more than {_count(most, 'GPU')}: lower --gpus-per-trial"
    more = f" and {len(enough) - 3} more nodes likewise" if len(enough) > 3 else ""
    return f"{asked} {', '.join(enough[:3])}{more}: lower --cpus-per-trial"


def _idle(nodes: Sequence[Resources], cpus: int, gpus: float) -> list[str]:
    """A line for each node on which GPUs find no cores."""
    if not gpus:
        return []
    lines = []
    for node, told in zip(nodes, _told(nodes), strict=True):
        fit, room = _fit(node, cpus, gpus), _by_gpus(node, gpus)
        idle = (room - fit) * gpus
        if idle:
            mend = "lower --cpus-per-trial" if cpus > 1 else "give Ray more of its cores"
            lines.append(
                f"{told}: {_count(fit, 'trial')} with {_count(cpus, 'core')} each, so "
                f"{_count(idle, 'GPU')} without work; {mend}"
            )
    return lines


def _kinds(nodes: Sequence[Resources], gpus: float) -> list[str]:
    """A line where GPUs differ."""
    kinds = {
        key.removeprefix("accelerator_type:"): None
        for node in nodes
        if gpus and _by_gpus(node, gpus)
        for key in node
        if key.startswith("accelerator_type:")
    }
    if len(kinds) < 2:
        return []
    return [
        f"GPUs differ ({', '.join(kinds)}): a trial runs on any of them, and must fit the least"
    ]
