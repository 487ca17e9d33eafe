"""Table I: GTA5 to Cityscapes, beside the published methods."""

from reports.tables.scenario_table import SLIP, Layout, Mean, scenario_table
from stvm.data.cityscapes import CITYSCAPES

TABLE = scenario_table(
    Layout(
        "1",
        "gta5_cityscapes",
        "Table I: GTA5 to Cityscapes",
        CITYSCAPES,
        (Mean(CITYSCAPES, "19", "miou"),),
        (SLIP,),
    )
)
