"""Networks: keys and counts of the public ones, every form and head against a slow twin."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet

from stvm.errors import StvmError
from stvm.networks import (
    FORMS,
    NORMALISATIONS,
    Architecture,
    Branches,
    ResNet,
    ResNetSize,
    SegmentationNetwork,
    SummedAspp,
    assemble,
    build_network,
    count_parameters,
)
from stvm.pretrained.families import LAYOUTS
from stvm.pretrained.fitting import public_names
from stvm.settings import Settings
from stvm.source_model.supervised import SupervisedTraining
from stvm.training.builder import build_student
from tests.helpers import public_checkpoints as public

SIZE = ResNetSize(public.BLOCKS, public.WIDTH)
TWIN = {
    "caffe": public.CAFFE,
    "torchvision": public.TORCHVISION,
    "torchvision_frozen": public.FROZEN,
    "v1c": public.V1C,
}


def small_v2(branches: Branches = "four", auxiliary: bool = False) -> SegmentationNetwork:
    torch.manual_seed(0)
    described = Architecture(
        "deeplabv2_resnet101", 0, 5, auxiliary, branches, normalisation="bgr_caffe"
    )
    return assemble(described, SIZE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("auxiliary", "layout", "keys", "millions"),
    [(True, "multi", 640, 44.60), (False, "single", 632, 43.90)],
)
def test_keys_shapes_and_counts_are_the_published_ones(
    auxiliary: bool, layout: str, keys: int, millions: float
) -> None:
    with torch.device("meta"):
        network = build_network("deeplabv2_resnet101", 0, 19, auxiliary=auxiliary)
        expected = public.backbone((3, 4, 23, 3), 64)
        expected |= public.aspp(LAYOUTS[layout].head, 19, 4, inputs=2048)
        if auxiliary:
            expected |= public.aspp("layer5.conv2d_list.", 19, 4, inputs=1024)
    own, names = network.state_dict(), public_names(network, LAYOUTS[layout])
    assert sorted(names.values()) == sorted(own)
    assert {k: own[v].shape for k, v in names.items()} == {k: v.shape for k, v in expected.items()}
    assert len(names) == keys
    assert round(count_parameters(network) / 1e6, 2) == millions
    documented = {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight"}
    documented |= {"layer3.0.downsample.0.weight", "layer4.2.bn3.bias"}
    documented |= {"layer5.conv2d_list.0.weight", "layer5.conv2d_list.3.bias"}
    assert documented <= names.keys()
    assert ("layer6.conv2d_list.3.weight" in names) == auxiliary


def test_deeplabv3_is_torchvisions() -> None:
    from torchvision.models.segmentation import deeplabv3_resnet50

    with torch.device("meta"):
        network = build_network("deeplabv3_resnet50", 0, 19, auxiliary=True)
        theirs = deeplabv3_resnet50(
            weights=None, weights_backbone=None, num_classes=19, aux_loss=True
        )
    names = public_names(network, LAYOUTS["torchvision"])
    own = network.state_dict()
    assert {k: own[v].shape for k, v in names.items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }
    assert sorted(names.values()) == sorted(own)
    assert round(count_parameters(network) / 1e6, 1) == 42.0


@pytest.mark.slow
def test_sizes_of_the_output() -> None:
    with torch.device("meta"):
        caffe = build_network("deeplabv2_resnet101", 0, 19)
        images = torch.zeros(1, 3, 512, 1024)
        assert caffe.logits(images).shape == (1, 19, 65, 129)
        assert caffe(images).shape == (1, 19, 512, 1024)
        assert ResNet(FORMS["torchvision"], SIZE)(images).shape == (1, 256, 64, 128)
        assert ResNet(FORMS["v1c"], SIZE)(images).shape == (1, 256, 64, 128)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_computes_what_its_twin_does(form: str) -> None:
    torch.manual_seed(0)
    network = ResNet(FORMS[form], SIZE).double().eval()
    state = public.backbone(deep=FORMS[form].deep_stem)
    network.load_state_dict(state)
    images = torch.randn(2, 3, 70, 97).double()
    with torch.no_grad():
        found = network.stages(images)
        last = network(images)
    for ours, twin in zip(found, public.features(state, images, TWIN[form]), strict=True):
        torch.testing.assert_close(ours, twin.double())
    torch.testing.assert_close(last, found[1])


@pytest.mark.slow
def test_the_torchvision_form_is_torchvisions_own() -> None:
    theirs = resnet.ResNet(
        resnet.Bottleneck, [1, 2, 1, 2], replace_stride_with_dilation=[False, True, True]
    ).eval()
    ours = ResNet(FORMS["torchvision"], ResNetSize((1, 2, 1, 2))).eval()
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    ours.load_state_dict(state)
    body = nn.Sequential(*list(theirs.children())[:-2])
    images = torch.randn(1, 3, 65, 66)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), body(images))


@pytest.mark.parametrize(("branches", "rates"), [("two", (6, 12)), ("four", (6, 12, 18, 24))])
def test_an_aspp_is_the_sum_over_its_rates_and_no_other(
    branches: Branches, rates: tuple[int, ...]
) -> None:
    network = small_v2(branches)
    features = torch.randn(1, 256, 9, 13)
    state = network.classifier.state_dict()
    slow = public.slow_aspp(state, features, "branches.", rates)
    torch.testing.assert_close(network.classifier.double()(features.double()), slow)
    head = network.new_head(7)
    assert isinstance(head, SummedAspp) and len(head.branches) == len(rates)
    slow = public.slow_aspp(head.state_dict(), features, "branches.", rates)
    torch.testing.assert_close(head.double()(features.double()), slow)
    weights = torch.cat([w.flatten() for n, w in head.named_parameters() if n.endswith("weight")])
    assert float(weights.detach().std()) == pytest.approx(0.01, rel=0.02)


def test_idle_branches_keep_their_weights_and_take_no_gradient() -> None:
    network = small_v2("two", auxiliary=True)
    settings = Settings().replace(
        **{"network": "deeplabv2_resnet101", "auxiliary": True, "source_auxiliary": 0.3},
        **{"source_lr": 1e-3, "source_head_lr_factor": 10.0},
    )
    before = copy.deepcopy(network.state_dict())
    training = SupervisedTraining(network, settings, None)
    rates = [group["lr"] for group in training.optimizer.param_groups]
    assert rates == pytest.approx([1e-3, 1e-2, 1e-2])
    images, labels = torch.rand(2, 3, 33, 49), torch.randint(0, 5, (2, 33, 49))
    middle, last = network.features.stages(network.normalised(images))
    assert network.auxiliary is not None
    heads = (network.classifier(last), network.auxiliary(middle))
    enlarged = [F.interpolate(h, (33, 49), mode="bilinear") for h in heads]
    main, second = (F.cross_entropy(logits, labels).item() for logits in enlarged)
    network.load_state_dict(before)
    loss = training.loss(images, labels).item()
    assert loss == pytest.approx(main + 0.3 * second, rel=1e-4)
    training.step((255 * images).to(torch.uint8), labels, 1)
    after = network.state_dict()
    for part in ("classifier", "auxiliary"):
        same = [torch.equal(before[k], after[k]) for k in before if k.startswith(part)]
        assert same == [False] * 4 + [True] * 4
    assert not torch.equal(before["features.conv1.weight"], after["features.conv1.weight"])


def test_copies_keep_what_the_original_is() -> None:
    network = small_v2("two", auxiliary=True).eval()
    twin = copy.deepcopy(network)
    images = torch.rand(1, 3, 40, 41)
    assert twin.bgr and twin.architecture == network.architecture
    with torch.no_grad():
        torch.testing.assert_close(twin(images), network(images))
    head = twin.new_head(3)
    assert isinstance(head, SummedAspp) and len(head.branches) == 2


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("bgr_caffe", public.caffe_input),
        ("rgb_imagenet", public.rgb_input),
        ("bgr_imagenet", public.bgr_input),
    ],
)
def test_normalisation_is_the_familys(name: str, twin: object) -> None:
    assert name in NORMALISATIONS and callable(twin)
    network = assemble(Architecture("small_deeplab", 8, 3, normalisation=name))
    images = torch.rand(2, 3, 5, 6)
    torch.testing.assert_close(
        network.normalised(images), twin(images).float(), rtol=1e-5, atol=1e-4
    )


def test_batch_norm_of_the_student_by_setting() -> None:
    source = small_v2()
    images = torch.rand(2, 3, 33, 33)
    for bn, moves, learns in (
        ("train", True, True),
        ("statistics", True, False),
        ("frozen", False, False),
    ):
        student = build_student(source, bn)  # type: ignore[arg-type]
        student.features(images).sum().backward()
        norm = student.features.bn1
        assert torch.equal(norm.running_mean, source.features.bn1.running_mean) != moves
        # A sum over channels reaches every weight: of batch norm, where it learns, and below it.
        learning = {name for name, p in student.features.named_parameters() if p.grad is not None}
        whole = {name for name, _ in student.features.named_parameters()}
        affine = {name for name in whole if "bn" in name or "downsample.1" in name}
        assert len(affine) > 10 and learning == (whole if learns else whole - affine)
        assert float(student.features.conv1.weight.grad.abs().sum()) > 0


def test_what_a_network_lacks_is_said() -> None:
    with pytest.raises(StvmError, match="small_deeplab has no layer 3"):
        build_network("small_deeplab", 16, 5, auxiliary=True)
    with pytest.raises(StvmError, match="unknown network 'resnet'"):
        build_network("resnet", 16, 5)
    with pytest.raises(StvmError, match="no layer 3"):
        Settings().replace(auxiliary=True)
    with pytest.raises(StvmError, match="aspp_branches=two is for deeplabv2_resnet101"):
        Settings().replace(aspp_branches="two")
