"""Number of active branches of a summed ASPP, as file, family and settings say it together."""

from stvm.errors import StvmError
from stvm.networks import Branches
from stvm.pretrained.families import FAMILIES
from stvm.pretrained.unwrapping import UnwrappedCheckpoint


def ask_branches(found: UnwrappedCheckpoint) -> str:
    """Raise the error that asks for the number of active branches."""
    raise StvmError(
        f"checkpoint {found.path}: its weights do not tell whether two or four of the rates 6, 12, "
        "18, 24 count; set aspp_branches=two (AdaptSegNet, MaxSquare, DACS) or four (ADVENT, CRST)"
    )


def active_branches(
    found: UnwrappedCheckpoint, family: str, detected: str, asked: str, stored: int
) -> Branches:
    """Number of active branches: as asked, or as the weights show and the family's code agrees.

    Args:
        found: State dict of the file.
        family: Name in `FAMILIES`.
        detected: Number that the weights show.
        asked: Number of the settings, or "auto".
        stored: Number of branches in the file.

    Raises:
        StvmError: The number is not known, or contradicts file or family.
    """
    if asked == "four" and stored == 2:
        raise StvmError(
            f"checkpoint {found.path} has 2 convolutions in its classifier: leave out "
            "aspp_branches=four"
        )
    documented = FAMILIES[family].branches
    if asked == "auto":
        asked = documented or detected if detected == "none" else detected
        if documented and asked not in (documented, "contradictory"):
            raise StvmError(
                f"checkpoint {found.path}: checkpoint_family={family} adds {documented} of "
                f"the rates 6, 12, 18, 24, and the weights say that {asked} were trained: it is "
                f"of another family ({_families_that_add(found, asked)}), or set "
                f"aspp_branches={asked}"
            )
    if asked == "two":
        return "two"
    if asked != "four":
        ask_branches(found)
    return "four"


def _families_that_add(found: UnwrappedCheckpoint, branches: str) -> str:
    """Families of the file's layout whose code sums this number of branches."""
    names = [
        name
        for name, family in FAMILIES.items()
        if found.layout in family.layouts and family.branches in (branches, None)
    ]
    return ", ".join(names) or "none has these keys"
