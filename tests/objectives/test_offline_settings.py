"""Settings of the objectives with offline labels: what they bring and what they refuse."""

import pytest

from stvm.errors import StvmError
from stvm.settings import PEERS, Settings
from stvm.training.peer_builder import own_values

OFFLINE = [name for name, peer in PEERS.items() if peer.offline]
ROUNDS = {"cbst": 3, "crst": 3, "iast": 3, "ld": 2, "dtst": 7}


def test_published_values_are_the_defaults() -> None:
    """But for `hcl_positions`, a limit of memory that no release has."""
    found = {p: own_values(Settings().replace(procedure=p)) for p in OFFLINE}
    assert {p: v["rounds"] for p, v in found.items() if p in ROUNDS} == ROUNDS
    cbst = {"rounds": 3, "share": 0.2, "share_step": 0.05, "share_most": 0.5}
    assert found["cbst"] == cbst and found["crst"] == cbst | {"divergence": 0.1}
    iast = {"gamma": 8, "momentum": 0.9, "entropy": 3, "divergence": 0.1}
    assert found["iast"] == {"rounds": 3, "share": 0.2, "share_step": 0.05} | iast
    urma = {"share": 0.2, "entropy": 1, "consistency": 0.1, "decoders": 4, "dropout": 0.5}
    assert found["urma"] == urma
    assert found["hcl"] == {
        **{"momentum": pytest.approx(1 - 0.996), "period": 300, "contrast": 0.5},
        **{"rare_weight": 7, "rare_share": 64 * 64 / (512 * 256)},
        "positions": 10_000,
    }
    ld = {"rounds": 2, "share": 0.1, "share_step": 0.05, "entropy": 1, "negative": 1}
    assert found["ld"] == ld
    dtst = {"most": 0.8, "least": 0.2, "rare": 0.001, "negative": 0.5, "share": 0.5, "rounds": 7}
    dtst |= {"momentum": pytest.approx(1 - 0.99), "first": 9, "step": 3, "longest": 30}
    assert found["dtst"] == dtst | {"classes": 0.42, "pixels": 50, "scale": 2.5}
    assert found["ldbe"] == ld | {"mixed_rounds": 1, "decay": 0.99, "confidence": 0.97}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"procedure": "cbst", "labeller": "source"}, "labeller=source has no effect"),
        ({"procedure": "cbst", "ld_share": 0.2}, "it belongs to procedure=ld"),
        ({"procedure": "ld", "labeller_bn": "eval"}, "labeller_bn=eval has no effect"),
        ({"procedure": "dtst", "ema_momentum": 0.5}, "ema_momentum=0.5 has no effect"),
        ({"procedure": "dtst", "student_bn": "train"}, "student_bn=train has no effect"),
        ({"procedure": "hcl", "accumulate": 2}, "accumulate=2 has no effect"),
        ({"procedure": "hcl", "label_views": "scales"}, "label_views=scales has no effect"),
        ({"procedure": "ld", "student_bn": "frozen"}, "moves the running statistics"),
        ({"procedure": "ldbe", "student_bn": "frozen"}, "moves the running statistics"),
        ({"procedure": "ldbe", "batch": 1}, "mixes an image with the next; set batch=2"),
        ({"procedure": "ldbe", "ldbe_mixed_rounds": 0}, "greater than or equal to 1"),
    ],
)
def test_what_has_no_effect_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(StvmError, match=told):
        Settings().replace(**{"batch": 2} | changes)


@pytest.mark.parametrize(
    "changes", [{"procedure": "ld"}, {"procedure": "cbst", "labeller_bn": "batch"}]
)
def test_single_images_need_a_network_that_can_take_their_statistics(
    changes: dict[str, object],
) -> None:
    network = {"network": "deeplabv3_resnet101"}
    Settings().replace(procedure="cbst", **network)
    with pytest.raises(StvmError, match="labels images one by one"):
        Settings().replace(**network | changes)


def test_more_views_of_the_labels_are_taken() -> None:
    settings = Settings().replace(procedure="urma", label_views="scales", urma_share=0.3)
    assert settings.method.label_views == "scales"
    assert Settings().replace(procedure="urma").method.label_views == "mirrored"
