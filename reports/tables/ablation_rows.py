"""Rows of the ablation: their order, their labels, and the row that each is compared with."""

PARTIAL = "partial AdaBN"
"""Row that studies have since there are shares of AdaBN; it goes half of the way."""
ABOVE = {
    "Source": None,
    "ST": "Source",
    "ST_Aug": "ST",
    "ST_MT": "ST_Aug",
    "STvM_Raw": "ST_MT",
    "STvM": "STvM_Raw",
    "AdaBN": "Source",
    PARTIAL: "AdaBN",
    "Oracle": None,
}
"""Rows in the order of Table IV, each with the row its delta is taken against."""
ROWS = tuple(ABOVE)
CONTROL = "Control"
"""Row that a study has if it was asked for: ST_MT with STvM_Raw's mean weight for every pixel."""
KNOWN = (*ROWS, CONTROL)
"""All rows that an ablation may have."""
LABELS = {"Oracle": "Oracle (target labels)", CONTROL: "Control (ST_MT, constant weight)"}
"""Labels for people, where they are not the row's name."""


def row_label(name: str) -> str:
    """Label of a row for people."""
    return LABELS.get(name, name)
