"""The objectives beside STvM: one row each, by which `procedure` selects it.

A row names the class of the objective, its group of settings, and the settings of method and
training that matter to it. Any other setting of these is refused if its value is not the default
of the procedure.
"""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import create_model

from stvm.settings.fields import SettingsGroup
from stvm.settings.peer_row import START, Peer
from stvm.settings.peer_settings.cbst_settings import ClassBalancedSettings
from stvm.settings.peer_settings.cotta_settings import CottaSettings
from stvm.settings.peer_settings.crst_settings import ConfidenceRegularisedSettings
from stvm.settings.peer_settings.dtst_settings import DynamicTeacherSettings
from stvm.settings.peer_settings.hardst_settings import HardLabelsSettings
from stvm.settings.peer_settings.hcl_settings import HistoricalContrastSettings
from stvm.settings.peer_settings.iast_settings import InstanceAdaptiveSettings
from stvm.settings.peer_settings.ld_settings import NegativeLearningSettings
from stvm.settings.peer_settings.ldbe_settings import MovingAverageMixSettings
from stvm.settings.peer_settings.maxsquares_settings import MaxSquaresSettings
from stvm.settings.peer_settings.shot_settings import ShotSettings
from stvm.settings.peer_settings.shotim_settings import ShotImSettings
from stvm.settings.peer_settings.srda_settings import SrdaSettings
from stvm.settings.peer_settings.urma_settings import UncertaintyReductionSettings

NOISE = ("aug_strength", "aug_probability", "blur_probability")
"""Settings of the photometric noise, which matter with `aug`."""
TEACHER = ("ema_momentum", "ema_period", "teacher_bn", "evaluated")
"""Settings of the mean teacher, which matter with `mt`."""
LABELLING = ("labeller_bn", "label_views", "label_scale")
"""Settings of labels that a network makes for each batch."""
_ENTROPY_RATES = (0.01, 0.1, 1.0)
"""Rates of losses without labels. With such a loss predictions collapse more easily than with
labels. Beside a source loss its published weight is 0.1 or 0.001; without a source loss, a weight
of 0.1 is the same as a tenth of the rate."""
_FOLLOWING = {"student_bn": "statistics"}
"""Running statistics follow, weights of batch norm are fixed: the release trains so."""
_TRAINED = {"student_bn": "train"}
"""Running statistics follow, weights of batch norm are trained; the release fixes the stem's."""
_FROZEN = {"student_bn": "frozen"}
"""Statistics and weights of batch norm stay those of the start: the release trains so."""

_EACH_ROUND = "labels of all target images before each round"
_OF_EACH_ROUND = "student at the start of each round"
_ONCE = "labels of all target images before the first iteration"
_OWN_LABELS: dict[str, Any] = {"labeller": "student", "label_views": "mirrored"}
_IN_TRAIN_MODE: dict[str, Any] = {"labeller": "student", "labeller_bn": "batch"}
_ROUNDS = (*START, "accumulate", "aug", *LABELLING)

PEERS: dict[str, Peer] = {
    "tent": Peer(
        "minimum entropy by the weights of batch norm alone",
        "tent:Tent",
        trains="batch_norm",
        uses=("accumulate",),
        brings={"optimizer": "adamw", "head_lr_factor": 1.0},
        decays=False,
        needs_batch_norm=True,
        rows={"TENT": {}},
    ),
    "minent": Peer(
        "minimum entropy of the predictions",
        "minent:MinEnt",
        uses=(*START, "accumulate", "aug"),
        brings=_FOLLOWING,
        rows={"MinEnt": {}},
        rates=(0.001, 0.01, 0.1),
    ),
    "maxsquares": Peer(
        "maximum squares of the predictions",
        "maxsquares:MaxSquares",
        MaxSquaresSettings,
        uses=(*START, "accumulate", "aug"),
        brings=_TRAINED,
        rows={"MaxSquares": {}, "MaxSquares+IW": {"maxsquares_weight": "image"}},
        rates=_ENTROPY_RATES,
    ),
    "hardst": Peer(
        "self-training on labels above a confidence",
        "hardst:HardLabels",
        HardLabelsSettings,
        labels="frozen start, or mean teacher with mt=true, in each batch",
        networks=1,
        uses=(*START, *LABELLING, "labeller", "mt", "accumulate", "aug"),
        brings=_FOLLOWING,
        rows={"ST hard": {}},
    ),
    "shotim": Peer(
        "information maximisation: confident pixels, mean prediction spread over the classes",
        "shotim:ShotIM",
        ShotImSettings,
        trains="all_but_classifier",
        offline="class shares at the start, for shotim_prior=source",
        uses=(*START, "aug"),
        rows={"SHOT-IM": {}, "SHOT-IM (source prior)": {"shotim_prior": "source"}},
        rates=_ENTROPY_RATES,
    ),
    "shot": Peer(
        "information maximisation with labels of the nearest class centroids",
        "shot:Shot",
        ShotSettings,
        trains="all_but_classifier",
        labels=_OF_EACH_ROUND,
        offline=_EACH_ROUND,
        uses=(*START, "aug"),
        brings={"labeller": "student"},
        rows={"SHOT": {}},
        rates=_ENTROPY_RATES,
    ),
    "srda": Peer(
        "weighted entropy, and class shares near to those predicted at the start",
        "srda:Srda",
        SrdaSettings,
        offline="class shares at the start",
        uses=(*START, "aug"),
        rows={"SRDA": {}},
        rates=_ENTROPY_RATES,
    ),
    "sfdatar": Peer(
        "maximum squares of the predictions, the target loss of SFDA",
        "sfdatar:SfdaTarget",
        uses=(*START, "accumulate", "aug"),
        rows={"SFDA-TAR": {}},
        rates=(0.001, 0.01, 0.1),
    ),
    "cotta": Peer(
        "labels of a teacher over several views, and weights that go back to the start at random",
        "cotta:Cotta",
        CottaSettings,
        labels="teacher, for each batch",
        networks=2,
        uses=("start_bn", "accumulate", "aug", "ema_momentum", "ema_period", "evaluated"),
        brings={
            **{"mt": True, "teacher_bn": "keep", "ema_period": 1, "evaluated": "teacher"},
            **{"aug": True, "head_lr_factor": 1.0},
        },
        rows={"CoTTA": {}},
    ),
    "cbst": Peer(
        "class-balanced self-training",
        "cbst:ClassBalanced",
        ClassBalancedSettings,
        labels=_OF_EACH_ROUND,
        offline=_EACH_ROUND,
        uses=_ROUNDS,
        brings=_FROZEN | _OWN_LABELS,
        rows={"CBST": {}},
    ),
    "crst": Peer(
        "class-balanced self-training with a regulariser of the confidence (MRKLD)",
        "crst:ConfidenceRegularised",
        ConfidenceRegularisedSettings,
        labels=_OF_EACH_ROUND,
        offline=_EACH_ROUND,
        uses=_ROUNDS,
        brings=_FROZEN | _OWN_LABELS,
        rows={"CRST-MRKLD": {}},
    ),
    "iast": Peer(
        "self-training with thresholds that follow the images",
        "iast:InstanceAdaptive",
        InstanceAdaptiveSettings,
        labels=_OF_EACH_ROUND,
        offline=_EACH_ROUND,
        uses=_ROUNDS,
        brings=_FROZEN | {"labeller": "student"},
        rows={"IAST": {}},
    ),
    "urma": Peer(
        "labels of the start, low entropy, auxiliary decoders that agree",
        "urma:UncertaintyReduction",
        UncertaintyReductionSettings,
        labels="frozen start",
        offline=_ONCE,
        uses=_ROUNDS,
        brings=_TRAINED | {"label_views": "mirrored"},
        own_statistics="auxiliary decoders",
        networks=1,
        rows={"URMA": {}},
    ),
    "hcl": Peer(
        "labels of the start, historical contrastive learning",
        "hcl:HistoricalContrast",
        HistoricalContrastSettings,
        labels="frozen start",
        offline=_ONCE,
        uses=(*START, "aug"),
        brings=_FOLLOWING,
        own_statistics="moving average and historical network",
        networks=3,
        rows={"HCL": {}},
    ),
    "ld": Peer(
        "positive labels, a negative label, low entropy",
        "ld:NegativeLearning",
        NegativeLearningSettings,
        labels=_OF_EACH_ROUND,
        offline=_EACH_ROUND,
        uses=(*START, "accumulate", "aug"),
        brings=_FOLLOWING | _IN_TRAIN_MODE,
        rows={"LD": {}},
    ),
    "ldbe": Peer(
        "LD, then images mixed with the labels of a moving average",
        "ldbe:MixedByMovingAverage",
        MovingAverageMixSettings,
        labels=_OF_EACH_ROUND + ", then a moving average of it",
        offline=_EACH_ROUND,
        uses=(*START, "aug"),
        brings=_FOLLOWING | _IN_TRAIN_MODE,
        own_statistics="moving average",
        networks=1,
        rows={"LDBE": {}},
    ),
    "dtst": Peer(
        "self-training with a teacher that moves when its student got better, rare classes pasted",
        "dtst:DynamicTeacher",
        DynamicTeacherSettings,
        labels="teacher, for each batch",
        offline="banks of regions before each round",
        networks=1,
        uses=("start_bn", "accumulate", "aug", "evaluated"),
        brings={
            **_FROZEN,
            **{"mt": True, "teacher_bn": "keep", "evaluated": "teacher"},
            **{"aug": True, "aug_strength": 0.5},
        },
        rows={"DT-ST": {}},
    ),
}
"""Objectives by the name that `procedure` takes."""

PROCEDURES = ("adapt", "adabn", "oracle", *PEERS)

if TYPE_CHECKING:
    ProcedureName = str

    class ObjectiveSettings(SettingsGroup):
        """The settings of all objectives."""

else:
    ProcedureName = Literal[PROCEDURES]
    ObjectiveSettings = create_model(
        "ObjectiveSettings",
        __base__=tuple(row.group for row in PEERS.values() if row.group) or SettingsGroup,
        __doc__="The objectives beside STvM, each with its name in front of its settings.",
    )


def fields_of(procedure: str) -> tuple[str, ...]:
    """Names of the settings that belong to an objective alone."""
    row = PEERS.get(procedure)
    return tuple(row.group.model_fields) if row and row.group else ()


def owner_of(name: str) -> str:
    """The procedure to which a setting belongs; empty if to none."""
    return next((peer for peer in PEERS if name in fields_of(peer)), "")
