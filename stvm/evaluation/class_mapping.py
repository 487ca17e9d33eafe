"""Predictions in the source model's classes, turned into classes of the target."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

from stvm.data.classes import IGNORE_INDEX
from stvm.data.correspondence import Correspondence

Rule = Literal["error", "ignored"]


@dataclass(frozen=True)
class ClassMapping:
    """A correspondence of classes, applied to scores and to maps of classes.

    Attributes:
        table: Target class of each source class; 255 for an unmatched one.
        num_targets: Number of the target's classes.
        rule: Meaning of unmatched classes. "error": a pixel predicted as one is an error of its
            true class; "ignored": they take no part in the arg max.
    """

    table: tuple[int, ...]
    num_targets: int
    rule: Rule

    @classmethod
    def of(cls, classes: Correspondence, rule: Rule) -> Self | None:
        """The mapping of a correspondence; None if the classes are the same."""
        if classes.is_same:
            return None
        table = tuple(IGNORE_INDEX if t is None else t for t in classes.targets)
        return cls(table, len(classes.target), rule)

    @classmethod
    def from_facts(cls, targets: Sequence[str | None], names: Sequence[str], rule: str) -> Self:
        """The mapping in a record: target class of each source class, and the target's names."""
        table = tuple(IGNORE_INDEX if t is None else names.index(t) for t in targets)
        return cls(table, len(names), "ignored" if rule == "ignored" else "error")

    @property
    def allowed(self) -> list[int]:
        """Source classes that take part in the arg max."""
        matched = [number for number, target in enumerate(self.table) if target != IGNORE_INDEX]
        return matched if self.rule == "ignored" else list(range(len(self.table)))

    def source_classes(self, scores: Tensor) -> Tensor:
        """The source class with the largest score among the allowed ones.

        Args:
            scores: Scores of the source model's classes, (N, C, H, W).

        Returns:
            Source classes (N, H, W).
        """
        if self.rule == "error":
            return scores.max(1).indices
        allowed = torch.tensor(self.allowed, device=scores.device)
        return allowed[scores.index_select(1, allowed).max(1).indices]

    def target_classes(self, classes: Tensor) -> Tensor:
        """Target classes of source classes of any shape; 255 for an unmatched one."""
        return torch.tensor(self.table, device=classes.device)[classes.long()]


def predicted_classes(scores: Tensor, mapping: ClassMapping | None) -> Tensor:
    """Predicted target classes (N, H, W) of scores (N, C, H, W); 255 for an unmatched one."""
    if mapping is None:
        # `max` and not `argmax`, which takes five times as long over channels on a CPU.
        return scores.max(1).indices
    return mapping.target_classes(mapping.source_classes(scores))
