"""The settings that name a trial, without those that cannot matter to it.

A setting cannot matter if its part of the method is off, or if it is about files that the trial
does not read. Groups of settings are plain dictionaries here, by name of group and setting.
"""

import hashlib
import json
from typing import Any

from stvm.networks import find_network
from stvm.settings.compute_settings import ComputeSettings
from stvm.settings.data_settings import PUBLISHED
from stvm.settings.evaluation_settings import EvaluationSettings
from stvm.settings.method_settings import MethodSettings
from stvm.settings.peers import PEERS
from stvm.settings.source_settings import SourceSettings
from stvm.settings.training_settings import TrainingSettings

Groups = dict[str, dict[str, Any]]

SOURCE_TRAINING = ("crop_height", "crop_width", "momentum", "weight_decay", "poly_power")
"""Training settings on which the source model depends too."""

_DATA_CONTENTS = (
    *("source_train_content", "source_val_content", "target_train_content"),
    *("target_labels_content", "target_val_content", "target_test_content"),
)
_WEIGHTS_CONTENTS = ("checkpoint_content", "init_content", "network_content")
CONTENTS = (*_DATA_CONTENTS, *_WEIGHTS_CONTENTS)
"""Digests of files; a trial's name has those of the files that it reads."""

_IDLE_WITHOUT = {
    "aug": ("aug_strength", "aug_probability", "blur_probability"),
    "mt": ("ema_momentum", "ema_period", "teacher_bn"),
    "mgs": ("alpha", "beta"),
    "mocm": (
        *("tau_mocm", "n_mocm", "buffer_size"),
        *("patch_unit", "patch_order", "patch_image", "patch_max_cover"),
    ),
}
_METRIC = (
    *("n_f", "temperature", "q_m", "threshold_momentum"),
    *("pixels_per_class", "metric_balance", "metric_floor"),
)


def read_contents(groups: Groups) -> set[str]:
    """Members of `CONTENTS` whose files the trial reads; the embedded benchmark has no files."""
    data, source, method = groups["data"], groups["source"], groups["method"]
    read: set[str] = set()
    if source["source_checkpoint"]:
        read.add("checkpoint_content")
    elif source["source_init"]:
        read.add("init_content")
    if find_network(groups["network"]["network"]).files:
        read.add("network_content")
    if data["dataset"] != "folder":
        return read
    # Every row measures its scores without labels on the target's training images.
    read |= {"target_train_content", f"target_{groups['training']['eval_split']}_content"}
    if not source["source_checkpoint"]:
        read.add("source_train_content")
    if method["procedure"] == "oracle":
        read.add("target_labels_content")
    elif method["procedure"] == "adapt" and not method["st"] and data["source_root"]:
        read.add("source_val_content")
    return read


def without_idle(groups: Groups) -> Groups:
    """The settings, with those that cannot matter set back to their defaults."""
    method, training = groups["method"], groups["training"]
    groups = _without_correspondence(_without_source_training(_without_unread(groups)))
    if not _uses_sgd(groups):
        training["momentum"] = _default("momentum")
    if method["procedure"] in PEERS:
        # What has no effect on an objective is at its default, or it is refused.
        return groups
    if not method["st"]:
        share = method["adabn_share"] if method["procedure"] == "adabn" else 1.0
        kept = {name: training[name] for name in ("eval_split", "workers", *SOURCE_TRAINING)}
        return _without_compute(groups) | {
            "method": MethodSettings(
                **{"procedure": method["procedure"], "adabn_share": share},
                **dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False),
            ).model_dump(),
            "training": TrainingSettings().model_dump() | kept,
        }
    idle = [name for part, names in _IDLE_WITHOUT.items() if not method[part] for name in names]
    idle.append("adabn_share")
    if method["mt"]:
        idle.append("labeller")
    if method["mgs"] or method["mocm"]:
        idle.append("metric_alongside")
    elif not method["metric_alongside"]:
        idle += _METRIC
        training["metric_lr"] = _default("metric_lr")
    if not method["mt"]:
        training["evaluated"] = _default("evaluated")
    if method["pseudo_label_share"] == 1.0:
        idle.append("pseudo_label_by")
        if not method["mgs"]:
            idle.append("loss_norm")
    if method["mgs"] or method["loss_norm"] == "weights":
        # A constant weight has no effect if the loss is divided by the sum of the weights.
        idle.append("constant_weight")
    if not method["aug"]:
        idle.append("patch_image")
    return groups | {"method": method | {name: _default(name) for name in idle}}


def _uses_sgd(groups: Groups) -> bool:
    """Whether a trial trains with SGD, whose momentum then matters.

    A trial that trains nothing counts too: the names of recorded ones have the momentum.
    """
    method, source = groups["method"], groups["source"]
    trained = []
    if method["st"] or method["procedure"] in PEERS:
        trained.append(groups["training"]["optimizer"])
    if method["procedure"] == "oracle" or not source["source_checkpoint"]:
        trained.append(source["source_optimizer"])
    return not trained or "sgd" in trained


def _without_unread(groups: Groups) -> Groups:
    """The settings without digests of files that the trial does not read."""
    unread = set(CONTENTS) - read_contents(groups)
    return groups | {
        part: groups[part] | {name: "" for name in groups[part] if name in unread}
        for part in ("data", "source", "network")
    }


def _without_source_training(groups: Groups) -> Groups:
    """The settings without those of source training, where a checkpoint takes its place.

    On data that are not published, a trial that is named by the path of its checkpoint keeps
    these settings. Otherwise the names of recorded trials would change.
    """
    source = groups["source"]
    by_content = bool(source["checkpoint_content"])
    if not (
        source["source_checkpoint"]
        and groups["method"]["procedure"] != "oracle"
        and (by_content or groups["data"]["dataset"] in PUBLISHED)
    ):
        return groups
    names = ["source_checkpoint", "checkpoint_family", "checkpoint_content"]
    if groups["data"]["dataset"] not in PUBLISHED:
        # Their default is the target's crop, which may be larger than a source image.
        names += ["source_crop_height", "source_crop_width"]
    kept = {name: source[name] for name in names}
    return groups | {"source": SourceSettings().model_dump() | kept}


def _without_correspondence(groups: Groups) -> Groups:
    """The settings without those of unmatched classes, if source and target have the same."""
    data = groups["data"]
    if data["source_classes"] == data["classes"]:
        groups = groups | {"data": data | {"source_classes": ""}}
    if data["class_map"] or data["source_classes"] or groups["source"]["source_checkpoint"]:
        return groups
    default = EvaluationSettings.model_fields["unmatched"].default
    return groups | {"evaluation": groups["evaluation"] | {"unmatched": default}}


def _without_compute(groups: Groups) -> Groups:
    """The settings without those of training passes, where neither source nor target is trained.

    tf32 also changes the evaluation, and `deterministic` and `cudnn_benchmark` choose its kernels,
    so these stay. Without a checkpoint the source model is trained, and all settings matter.
    """
    if not groups["source"]["checkpoint_content"] or groups["method"]["procedure"] == "oracle":
        return groups
    compute = groups["compute"]
    idle = {"channels_last", "compile"}
    if compute["precision"] == "bfloat16":
        idle.add("precision")
    default = ComputeSettings().model_dump()
    return groups | {"compute": compute | {name: default[name] for name in idle}}


def _default(name: str) -> Any:
    fields = {**MethodSettings.model_fields, **TrainingSettings.model_fields}
    return fields[name].default


NOT_NAMED = ("workers", "keep_model", "patches_on")
"""Settings that change no result."""


TARGET_ONLY = (
    *("target_images", "eval_images", "gap", "target_root", "city", "class_map"),
    *("source_val_content", "target_train_content", "target_labels_content"),
    *("target_val_content", "target_test_content"),
)
"""Settings of the data on which the source model does not depend."""


SIZED_AS_TARGET = (
    *("source_height", "source_width"),
    *("source_crop_height", "source_crop_width"),
)
"""Settings that mean the target's value where they are 0."""


def digest(values: dict[str, Any]) -> str:
    """12 hex digits of the SHA-256 of the canonical JSON of `values`."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
