"""The photometric noise reaches the student's input alone; whatever labels sees clean crops."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stvm.method.photometric import PhotometricAugmentation
from stvm.objectives.objective import TargetBatch
from stvm.settings import PEERS
from stvm.training.peer_builder import PeerAdaptation
from tests.objectives.test_dtst import whole_batch_at
from tests.objectives.test_offline_steps import batch_at, built

NOISY = [name for name, peer in PEERS.items() if "aug" in peer.uses]
SLOW = {"hardst": {"labelling"}, "dtst": {"labelling"}, "cotta": {"labelling", "anchor"}}
SLOW |= {"hcl": {"average", "historical"}, "ldbe": {"average"}}
"""Networks that label the batches of an objective, beside the student."""


def watched(network: Any) -> list[Tensor]:
    """The inputs of a network, as they come; in [0, 1]."""
    seen: list[Tensor] = []
    network.features.register_forward_pre_hook(
        lambda _, given: seen.append((given[0] * network.std + network.mean).detach())
    )
    return seen


def slow_networks(made: PeerAdaptation) -> dict[str, nn.Module]:
    found = {"labelling": made.labelling} if made.labelling is not made.student else {}
    own = made.objective.networks().items()
    return found | {name: network for name, network in own if hasattr(network, "features")}


def with_inverted_images(made: PeerAdaptation) -> list[Tensor]:
    """Puts the negative of a picture in the place of the noise; returns what it is given."""
    given: list[Tensor] = []

    def inverted(images: Tensor) -> Tensor:
        given.append(images)
        return 1 - images

    object.__setattr__(made.objective, "given", replace(made.objective.given, augment=inverted))
    return given


@pytest.mark.parametrize("procedure", NOISY)
def test_the_student_sees_the_noise_and_what_labels_does_not(procedure: str) -> None:
    own: dict[str, Any] = {"hardst_threshold": 0.3} if procedure == "hardst" else {}
    made = built(procedure, **own)
    given = with_inverted_images(made)
    student = watched(made.student)
    others = {name: watched(network) for name, network in slow_networks(made).items()}
    mixed = procedure == "ldbe"
    if mixed:
        made.objective.number = 3  # type: ignore[attr-defined]
    batch = batch_at(1, labelled=procedure != "hcl")
    if procedure == "dtst":
        batch = whole_batch_at(1)
    made.step(batch, 1)
    # DT-ST scores its student on clean images first.
    assert len(given) == 1 and len(student) == (2 if procedure == "dtst" else 1)
    clean = 1 - student[-1]
    if mixed:
        # Each pixel is that of an image or of the next one, and both occur.
        near = [(clean - images).abs().amax(1) < 1e-5 for images in two_of(batch)]
        assert (near[0] | near[1]).all() and not near[0].all() and not near[1].all()
    else:
        torch.testing.assert_close(clean, batch.images, rtol=0, atol=1e-5)
    assert {name for name, seen in others.items() if seen} == SLOW.get(procedure, set())
    for seen in filter(None, others.values()):
        torch.testing.assert_close(seen[0], batch.images, rtol=0, atol=1e-5)


def two_of(batch: TargetBatch) -> tuple[Tensor, Tensor]:
    return batch.images, batch.images.roll(-1, 0)


@pytest.mark.parametrize("procedure", ["minent", "cotta"])
def test_the_noise_is_that_of_the_settings(procedure: str) -> None:
    noise = built(procedure, aug=True, aug_strength=0.1, blur_probability=0.9).objective.given
    assert isinstance(noise.augment, PhotometricAugmentation)
    assert (noise.augment.strength, noise.augment.blur_probability) == (0.1, 0.9)
    quiet = built(procedure, aug=False).objective.given
    images = batch_at(1).images
    assert torch.equal(quiet.augment(images), images)
