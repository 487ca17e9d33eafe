"""The groups of settings: typed, frozen, one sentence each, checked on entry.

A setting that answers a question the paper leaves open says so in `docs/paper.md`.
`grid` beside a default holds the paper's Table V values, `search` the range of a search.
"""

from stvm.groups.base import Group, is_later
from stvm.groups.compute import ComputeSettings
from stvm.groups.data import OFFICIAL, DataSettings
from stvm.groups.evaluation import EvaluationSettings
from stvm.groups.lone_images import most_parts, needs_two_images, refuse_lone_images
from stvm.groups.method import MethodSettings
from stvm.groups.network import NetworkSettings
from stvm.groups.source import SourceSettings
from stvm.groups.training import TrainingSettings

__all__ = [
    "OFFICIAL",
    "ComputeSettings",
    "DataSettings",
    "EvaluationSettings",
    "Group",
    "MethodSettings",
    "NetworkSettings",
    "SourceSettings",
    "TrainingSettings",
    "is_later",
    "most_parts",
    "needs_two_images",
    "refuse_lone_images",
]
