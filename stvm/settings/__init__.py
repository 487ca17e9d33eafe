"""All settings of a trial, by group: typed, frozen, described, checked when they are set.

If a setting is one reading of a point that the paper leaves open, `docs/paper.md` gives the
reason. Beside a default, `grid` holds the values of the paper's Table V, and `search` the range
of a search.
"""

from stvm.settings.batch_norm_limits import measures_target, most_parts, needs_two_images
from stvm.settings.compute_settings import ComputeSettings
from stvm.settings.data_settings import PUBLISHED, DataSettings
from stvm.settings.evaluation_settings import EvaluationSettings
from stvm.settings.fields import SettingsGroup, is_hashed_if_changed
from stvm.settings.method_settings import MethodSettings
from stvm.settings.naming import digest
from stvm.settings.network_settings import NetworkSettings
from stvm.settings.peer_row import Peer
from stvm.settings.peers import PEERS, fields_of
from stvm.settings.settings import (
    GROUPS,
    STREETS_VERSION,
    Settings,
    build_settings,
    field_of,
    group_of,
    parse_assignments,
)
from stvm.settings.source_settings import SourceSettings
from stvm.settings.training_settings import TrainingSettings

__all__ = [
    "GROUPS",
    "PEERS",
    "PUBLISHED",
    "STREETS_VERSION",
    "ComputeSettings",
    "DataSettings",
    "EvaluationSettings",
    "SettingsGroup",
    "MethodSettings",
    "NetworkSettings",
    "Peer",
    "Settings",
    "SourceSettings",
    "TrainingSettings",
    "build_settings",
    "digest",
    "field_of",
    "fields_of",
    "group_of",
    "is_hashed_if_changed",
    "measures_target",
    "most_parts",
    "needs_two_images",
    "parse_assignments",
]
