"""Lines about a finished adaptation without labels, for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NAMED = 3
"""Most changes from one class to another that are named."""
_LEAST = 0.001
"""Least share of the pixels of a change that is named."""


def summary(facts: Mapping[str, Any], pace: float | None) -> Iterator[str]:
    """Time, predicted classes, idle parts and changes; nothing was measured with labels.

    Args:
        facts: entries of settings.json.
        pace: seconds that an iteration took; None if it is not known.
    """
    result, changes = facts["result"], facts["result"]["changes"]
    each = f" of {pace:.2g} s" if pace else ""
    before = f", {facts['resumed_from']} of them earlier" if "resumed_from" in facts else ""
    yield f"{facts['seconds']:.0f} s: {facts['settings']['iterations']} iterations{each}{before}"
    collapsed = (
        "collapsed to less than half of their effective number: lower lr, or give fewer iterations"
    )
    yield f"predicted classes: {collapsed if result['collapsed'] else 'not collapsed'}"
    yield f"parts of the method: {'; '.join(result['idle']) or 'each that is on did something'}"
    yield (
        f"{100 * changes['changed']:.1f} % of the pixels of {changes['images']} images changed "
        f"class{_moves(changes['from_to'], facts['classes'])}"
    )
    scores = [
        f"{name} {changes[name][0]:.3f} before and {changes[name][1]:.3f} after"
        for name in ("entropy", "information")
    ]
    yield f"scores without labels, in nats: {', '.join(scores)}"


def _moves(table: Sequence[Sequence[float]], names: Sequence[str]) -> str:
    """The largest changes from one class to another."""
    count = range(len(table))
    moves = sorted(((table[a][b], a, b) for a in count for b in count if a != b), reverse=True)
    said = [
        f"{names[a]} to {names[b]} {100 * share:.1f} %"
        for share, a, b in moves[:NAMED]
        if share >= _LEAST
    ]
    return f" ({', '.join(said)})" if said else ""
