"""No tensor is made on another device than its inputs: run on the meta device, which refuses mixes.

Parts whose result has a size that depends on the data (pixel and patch draws) cannot run there.
"""

import pytest
import torch

from stvm.method.distance import distance_to_predicted
from stvm.method.losses import reliability, weighted_cross_entropy
from stvm.method.metric import proxy_nca_loss
from stvm.method.teacher import BnPolicy, Labeller, MeanTeacher, frozen_copy
from stvm.networks import build_network
from stvm.optimisation import FirstNonFinite

META = torch.device("meta")


def test_the_meta_device_refuses_a_mix() -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.rand(3, device=META) + torch.rand(3)


@pytest.mark.parametrize("bn", ["copy", "ema", "keep", "track"])
def test_labelling_student_loss_and_teacher(bn: BnPolicy) -> None:
    source = build_network("small_deeplab", 16, 5).to(META)
    student, teacher = frozen_copy(source).requires_grad_(True).train(), frozen_copy(source)
    images = torch.rand(2, 3, 32, 32, device=META)
    labels, confidence, features = Labeller(teacher, "batch", track=bn == "track")(images)
    distances = distance_to_predicted(features, torch.rand(5, 16, device=META), labels)
    weights = reliability(distances, alpha=2.0, beta=0.6)
    loss = weighted_cross_entropy(student(images), labels, weights, "pixels")
    loss.backward()
    MeanTeacher(teacher, student, 0.1, 1, bn).update(1)
    for tensor in (labels, confidence, features, distances, weights, loss):
        assert tensor.device == META


def test_the_rest_that_has_a_fixed_size() -> None:
    labels = torch.zeros(7, dtype=torch.long, device=META)
    pixels, proxies = torch.rand(7, 16, device=META), torch.rand(5, 16, device=META)
    assert proxy_nca_loss(pixels, labels, proxies, 0.25).device == META
    watch = FirstNonFinite(0, META, "lr")
    watch.see(1, torch.rand((), device=META))
    assert watch.iteration.device == META
