"""Settings that another value leaves without effect: refused, and truly without effect."""

import re
from typing import Any

import pytest
import torch

from stvm.errors import StvmError
from stvm.objectives.balanced_labels import share_of_round
from stvm.objectives.dtst import kept_labels
from stvm.objectives.objective import TargetBatch
from stvm.search.space import find_parameters
from stvm.settings import PEERS, Settings, field_of
from stvm.settings.idle_values import IDLE, Idle
from stvm.settings.peers import owner_of
from stvm.training.adaptation import build
from stvm.training.peer_builder import objective_class
from tests.helpers.tiny_settings import tiny
from tests.objectives.test_offline_steps import C, batch_at, start_network

OTHER: dict[str, Any] = {
    **{"maxsquares_ratio": 0.7, "srda_floor": 0.3, "srda_shares": "image"},
    **{"cotta_views": "scales", "urma_decoders": 2, "urma_dropout": 0.1, "hcl_rare_share": 0.5},
    **{f"{name}_share_step": 0.2 for name in ("cbst", "crst", "iast", "ld", "ldbe")},
    **{f"{name}_share_most": 0.4 for name in ("cbst", "crst")},
}
"""A value of each setting that is not its default."""
NAMED = [(name, rule) for rule in IDLE for name in rule.names]
CHECKPOINT = {"source_checkpoint": "x.pth"}


@pytest.mark.parametrize(("name", "rule"), NAMED)
def test_a_setting_is_refused_where_it_has_no_effect(name: str, rule: Idle) -> None:
    base = Settings().replace(procedure=owner_of(name), **rule.where)
    with pytest.raises(StvmError) as caught:
        base.replace(**{name: OTHER[name]})
    told = str(caught.value)
    assert told.startswith(f"{name}={OTHER[name]} has no effect with ") and "\n" not in told
    assert all(f"{other}={value}" in told for other, value in rule.where.items())
    assert base.replace(**{name: field_of(name).default}) == base
    for other in rule.where:
        used = base.replace(**{other: changed(other), name: OTHER[name]})
        assert used.flat()[name] == OTHER[name] and used.hash() != base.hash()


def changed(name: str) -> Any:
    """A value with which the part is on."""
    on = {"batch": 2, "maxsquares_weight": "image", "srda_class_weights": "inverse"}
    return on.get(name, 2 if name.endswith("rounds") else 0.5 if name != "hcl_rare_weight" else 7)


STEPPED = [(n, rule) for n, rule in NAMED if not n.endswith(("_step", "_most"))]


@pytest.mark.parametrize(("name", "rule"), STEPPED)
def test_what_is_refused_changes_no_weight_of_the_student(name: str, rule: Idle) -> None:
    found = []
    settings = tiny().replace(procedure=owner_of(name), channels=16, aug=False, **rule.where)
    # The checks are passed over, as the settings refuse the second one.
    given = settings.objective.model_copy(update={name: OTHER[name]})
    for one in (settings, settings.model_copy(update={"objective": given})):
        adaptation = build(one, start_network(), C)
        for iteration in (1, 2):
            # HCL takes no pixel without a label.
            batch = batch_at(iteration, labelled=name != "hcl_rare_share")
            if one.training.batch == 1:
                batch = TargetBatch(batch.images[:1])
            adaptation.step(batch, iteration)
        found.append([p.clone() for p in adaptation.student.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_shares_grow_in_no_round_where_their_step_is_refused() -> None:
    """The first round has the first share; those of LDBE's two stages are counted from 1 each."""
    for step, most in ((0.05, 0.5), (0.2, 0.5), (0.05, 0.4)):
        assert share_of_round(1, 0.2, step, most) == 0.2
    assert {share_of_round(number, 0.2, 0, 0.4) for number in range(1, 9)} == {0.2}


@pytest.mark.parametrize("name", ["cbst", "crst"])
def test_a_first_share_above_the_largest_is_refused_and_never_searched(name: str) -> None:
    base = Settings().replace(procedure=name)
    told = f"{name}_share=0.6 is above {name}_share_most=0.5: lower {name}_share, or raise"
    with pytest.raises(StvmError, match=re.escape(told)):
        base.replace(**{f"{name}_share": 0.6})
    for share, most in ((0.5, 0.5), (0.6, 0.6)):
        base.replace(**{f"{name}_share": share, f"{name}_share_most": most})
    (found,) = find_parameters([f"{name}_share"], base)
    assert (found.low, found.high, found.log) == (0.05, 0.5, True)
    assert len(found.grid) == 4


@pytest.mark.parametrize("least", [0.4, 0.5, 1.0])
def test_a_share_of_the_confidence_below_the_least_threshold_is_refused(least: float) -> None:
    """All thresholds are then the least one, whatever the confidences and class shares."""
    told = f"dtst_most=0.4 has no effect with dtst_least={least}: no threshold"
    with pytest.raises(StvmError, match=re.escape(told)):
        Settings().replace(procedure="dtst", dtst_most=0.4, dtst_least=least)
    Settings().replace(procedure="dtst", dtst_least=1.0)
    Settings().replace(procedure="dtst", dtst_most=0.41, dtst_least=0.4)
    draws = torch.Generator().manual_seed(0)
    shares = (4 * torch.randn(2, C, 16, 16, generator=draws)).softmax(1)
    kept = [
        kept_labels(shares, torch.tensor(chi), most=most, least=least, rare=0.001)
        for chi in ((0.3, 0.2, 1e-4, 1e-3, 0.05), (1.0,) * C)
        for most in (0.4, 0.1)
    ]
    assert all(torch.equal(one, kept[0]) for one in kept)
    assert (shares.max(1).values > least)[kept[0] != 255].all() and (kept[0] == 255).any()
    other = kept_labels(shares, torch.ones(C), most=0.9, least=0.4, rare=0.001)
    assert not torch.equal(other, kept[0])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"weight_decay": 1e-4, **CHECKPOINT}, "weight_decay=0.0001 has no effect"),
        ({"head_lr_factor": 3.0}, "the classifier of small_deeplab has no batch norm"),
        ({"head_lr_factor": 10, "network": "deeplabv2_resnet101"}, "head_lr_factor=10.0 has no"),
    ],
)
def test_tent_refuses_rates_and_decay_of_what_it_does_not_train(
    changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(StvmError, match=re.escape(told)) as caught:
        Settings().replace(procedure="tent", **changes)
    assert "\n" not in str(caught.value) and "leave it out, or set" in str(caught.value)


def test_tent_takes_rates_and_decay_that_act_on_something() -> None:
    """The source model is trained with the weight decay; a classifier may have batch norm."""
    for changes in (
        {"weight_decay": 1e-4},
        {"network": "deeplabv3_resnet50", "head_lr_factor": 3.0},
        {"network": "deeplabv3_resnet50", "head_lr_factor": 3.0, **CHECKPOINT},
        {"weight_decay": 5e-4, "head_lr_factor": 1, **CHECKPOINT},
    ):
        flat = Settings().replace(procedure="tent", **changes).flat()
        assert changes.items() <= flat.items()
    given = Settings().replace(weight_decay=1e-4, head_lr_factor=3.0, **CHECKPOINT)
    left = given.replace(procedure="tent").training
    assert (left.weight_decay, left.head_lr_factor) == (5e-4, 1.0)
    assert given.replace(procedure="minent").training.weight_decay == 1e-4


def test_an_objective_with_a_weight_decay_of_its_own_says_so() -> None:
    for peer in PEERS.values():
        assert peer.decays == (objective_class(peer).weight_decay is None)
