"""A checkpoint: its weights, its description, and the network made from both."""

from dataclasses import dataclass, field

from stvm.errors import StvmError
from stvm.networks import (
    FORMS,
    NORMALISATIONS,
    RESNET101,
    Architecture,
    ResNetSize,
    SegmentationNetwork,
    assemble,
    find_network,
    load_weights,
)
from stvm.pretrained.families import FAMILIES, LAYOUTS
from stvm.pretrained.fitting import fit, refuse_non_finite
from stvm.pretrained.segformer_files import build_segformer
from stvm.pretrained.unwrapping import UnwrappedCheckpoint


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights and the network that they fit.

    Attributes:
        family: Name in `FAMILIES`.
        found: State dict of the file.
        architecture: Description of the network; None for a file of this project without one.
        notes: Further remarks, for people.
        size: Depth and width of the backbone.
    """

    family: str
    found: UnwrappedCheckpoint
    architecture: Architecture | None
    notes: tuple[str, ...] = field(default=())
    size: ResNetSize = RESNET101

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names that the file holds; empty if it has none."""
        names = self.found.metadata.get("class_names", "")
        return tuple(names.split("\n")) if names else ()

    def facts(self) -> dict[str, str | int | float | bool]:
        """Description for the record."""
        facts: dict[str, str | int | float | bool] = {"family": self.family}
        if self.architecture:
            described = self.architecture
            facts |= {"network": described.network, "classes": described.num_classes}
            facts |= {"auxiliary": described.auxiliary, "normalisation": described.normalisation}
            if find_network(described.network).aspp_branches:
                facts |= {"branches": described.aspp_branches, "backbone": described.backbone}
            if described.network == "espnetv2":
                facts |= {"width": described.width}
        return facts

    def line(self) -> str:
        """Description of the checkpoint in one line."""
        parts = [f"{self.family} ({FAMILIES[self.family].about})"]
        described = self.architecture
        if described is None:
            return f"{parts[0]}: {len(self.found.state)} keys; the settings say what they fit"
        parts.append(described.network)
        if find_network(described.network).aspp_branches:
            rates = {"two": "rates 6 and 12", "four": "rates 6, 12, 18 and 24"}
            parts += [f"backbone {FORMS[described.backbone].about}", rates[described.aspp_branches]]
        if described.network == "espnetv2":
            parts.append(f"width {described.width:g}")
        parts += [f"{described.num_classes} classes", f"heads {', '.join(self.heads())}"]
        parts.append(f"input {NORMALISATIONS[described.normalisation].about}")
        return "; ".join([*parts, *self.notes])

    def heads(self) -> list[str]:
        """Names of classifier and auxiliary classifier in the file, the one that is used first."""
        layout = LAYOUTS[self.found.layout]
        auxiliary = self.architecture is not None and self.architecture.auxiliary
        names = [layout.head] + ([layout.auxiliary] if auxiliary and layout.auxiliary else [])
        said = [self.found.prefix + name.split(".")[0] for name in names]
        return said[:1] + [f"{name} (auxiliary)" for name in said[1:]]

    def build(self) -> SegmentationNetwork:
        """The network with the weights, in eval mode.

        Raises:
            StvmError: Keys or shapes do not fit, or weights are not finite.
        """
        if self.architecture is None:
            raise StvmError(
                f"checkpoint {self.found.path} does not say what network it is of: "
                "give its settings, with --preset or setting=value"
            )
        if self.found.layout == "segformer":
            return build_segformer(self.found, self.architecture).eval()
        network = assemble(self.architecture, self.size)
        if self.found.layout == "stvm":
            refuse_non_finite(self.found.path, self.found.state)
            load_weights(network, self.found.state, str(self.found.path))
        else:
            fit(network, self.found, self.family)
        return network.eval()
