"""Settings that have no effect on an objective beside STvM: refused if given, else left out."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stvm.networks import find_network
from stvm.settings.fields import SettingsGroup
from stvm.settings.idle_values import refuse_idle_values
from stvm.settings.method_settings import MethodSettings
from stvm.settings.peers import NOISE, PEERS, TEACHER, ObjectiveSettings, fields_of, owner_of
from stvm.settings.training_settings import TrainingSettings

Groups = dict[str, dict[str, Any]]

TOGGLES = ("st", "aug", "mt", "mgs", "mocm")
_LIMITED: dict[str, type[SettingsGroup]] = {
    "method": MethodSettings,
    "training": TrainingSettings,
    "objective": ObjectiveSettings,
}
_NOT_ALWAYS = ("metric_lr", "accumulate", "evaluated")
"""Settings of the training that matter to some objectives only."""
_MOVING_STATISTICS = ("ld", "ldbe")
_BOOL = TypeAdapter(bool)


def expected(procedure: str) -> dict[str, Any]:
    """The value of each setting of method, training and objectives where none is given."""
    defaults = {n: f.default for m in _LIMITED.values() for n, f in m.model_fields.items()}
    if procedure not in PEERS:
        return defaults
    off = dict.fromkeys(TOGGLES, False)
    return defaults | off | dict(PEERS[procedure].brings) | {"procedure": procedure}


def idle_settings(groups: Groups) -> list[str]:
    """Settings of method, training and objectives that have no effect on a trial's objective.

    For STvM, AdaBN and the oracle these are the settings of all objectives.
    """
    procedure = groups["method"]["procedure"]
    if procedure not in PEERS:
        return list(ObjectiveSettings.model_fields)
    always = {"procedure", *TrainingSettings.model_fields} - {*_NOT_ALWAYS}
    used = always | {*PEERS[procedure].uses, *fields_of(procedure)}
    for part, names in {"aug": NOISE, "mt": TEACHER}.items():
        if part in used and _is_on(groups["method"][part]):
            used |= {*names}
    if "mt" in used and _is_on(groups["method"]["mt"]):
        used -= {"labeller"}
    used -= _acting_on_nothing(groups).keys()
    return [name for model in _LIMITED.values() for name in model.model_fields if name not in used]


def _acting_on_nothing(groups: Groups) -> dict[str, str]:
    """Settings of the optimiser that act on no parameter that is trained, each with the reason."""
    peer, network = PEERS[groups["method"]["procedure"]], str(groups["network"]["network"])
    idle: dict[str, str] = {}
    if peer.trains == "all_but_classifier":
        idle["head_lr_factor"] = "the classifier is not trained"
    elif peer.trains == "batch_norm" and not find_network(network).classifier_norm:
        idle["head_lr_factor"] = f"the classifier of {network} has no batch norm"
    if not peer.decays and groups["source"]["source_checkpoint"]:
        idle["weight_decay"] = "no weight decays, and no source model is trained"
    return idle


def refuse_idle(groups: Groups) -> None:
    """Refuse settings that have no effect on a trial's objective, or that contradict it.

    Raises:
        ValueError: The message names the first one.
    """
    procedure = groups["method"]["procedure"]
    usual = expected(procedure)
    values = {**groups["method"], **groups["training"], **groups["objective"]}
    if procedure in _MOVING_STATISTICS and values["student_bn"] == "frozen":
        raise ValueError(
            f"student_bn=frozen: the labelling pass of procedure={procedure} moves the running "
            "statistics of the student; set student_bn=statistics or train"
        )
    if procedure == "ldbe" and values["batch"] == 1:
        raise ValueError(
            "batch=1: procedure=ldbe mixes an image with the next; set batch=2 or more"
        )
    for name in idle_settings(groups):
        if values[name] != usual[name]:
            raise ValueError(
                f"{name}={_typed(values[name])} has no effect with procedure={procedure}: "
                + _mend(name, groups, usual[name])
            )
    refuse_idle_values(values, usual)


def follow_procedure(groups: Groups, given: dict[str, Any]) -> Groups:
    """The settings after a change of the procedure, before the given values are put in.

    An objective turns the parts of STvM off, brings its own values, and sets what has no effect on
    it to the defaults. A change from it to STvM turns the parts on again. A value that is not the
    default of the old objective stays: the user gave it.

    Args:
        groups: Settings to begin with.
        given: Values that the user gives, by name.
    """
    old, new = groups["method"]["procedure"], given.get("procedure")
    if new in (None, old) or not {old, new} & PEERS.keys():
        return groups
    moved = {*TOGGLES, *_brings(old), *_brings(new)}
    before, usual = expected(old), expected(str(new))
    groups = groups | {part: dict(groups[part]) for part in _LIMITED}
    for part in _LIMITED:
        for name, value in groups[part].items():
            if name in moved and (old not in PEERS or value == before[name]):
                groups[part][name] = usual[name]
    seen = {
        part: values | {name: x for name, x in given.items() if name in values}
        for part, values in groups.items()
    }
    for name in idle_settings(seen):
        part = next(part for part, model in _LIMITED.items() if name in model.model_fields)
        groups[part][name] = usual[name]
    return groups


def _brings(procedure: Any) -> Mapping[str, Any]:
    return PEERS[procedure].brings if procedure in PEERS else {}


def _mend(name: str, groups: Groups, usual: Any) -> str:
    procedure, owner = groups["method"]["procedure"], owner_of(name)
    if owner:
        return f"it belongs to procedure={owner}; leave it out"
    parts = {**dict.fromkeys(NOISE, "aug"), **dict.fromkeys(TEACHER, "mt")}
    part = parts.get(name)
    if part and procedure in PEERS and part in PEERS[procedure].uses:
        return f"it needs {part}=true; add that, or leave it out"
    reason = _acting_on_nothing(groups).get(name, "") if procedure in PEERS else ""
    return f"{reason}; " * bool(reason) + f"leave it out, or set {name}={_typed(usual)}"


def _is_on(value: Any) -> bool:
    """Whether a toggle is on, as a value or as text; a wrong value is told elsewhere."""
    try:
        return _BOOL.validate_python(value)
    except ValidationError:
        return False


def _typed(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
