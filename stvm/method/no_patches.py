"""The bank that takes the place of the patches if MOCM is off."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor


class NoPatches:
    """Empty bank that takes the place of `PatchBank` if MOCM is off."""

    banked: Sequence[int] = ()
    pasted: Tensor | float = 0.0

    def store(
        self, images: Tensor, pseudo_labels: Tensor, reliability: Tensor, distances: Tensor
    ) -> None:
        """Bank nothing."""

    def paste(
        self, images: Tensor, pseudo_labels: Tensor, reliability: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments, unchanged."""
        return images, pseudo_labels, reliability

    def get_extra_state(self) -> dict[str, Any]:
        """An empty state."""
        return {}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""
