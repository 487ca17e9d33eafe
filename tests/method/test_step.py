"""The whole step on a small network: what moves, what does not, and that it repeats."""

import copy

import pytest
import torch

from stvm.errors import StvmError
from stvm.method.patches import PatchBank
from stvm.networks import build_network
from stvm.settings import Settings
from stvm.training.builder import build_adaptation

ROWS = {
    "ST": {"aug": False, "mt": False, "mgs": False, "mocm": False},
    "ST_Aug": {"mt": False, "mgs": False, "mocm": False},
    "ST_MT": {"mgs": False, "mocm": False},
    "STvM_Raw": {"mocm": False},
    "STvM": {},
    "MOCM_without_MGS": {"mgs": False},
    "ST_share": {
        **{"aug": False, "mt": False, "mgs": False, "mocm": False},
        **{"pseudo_label_share": 0.3, "loss_norm": "weights"},
    },
}


def adapt(changes, steps=3):
    torch.manual_seed(0)
    source = build_network("small_deeplab", 16, 5)
    settings = Settings().replace(channels=16, ema_period=1, tau_mocm=4.0, **changes)
    built = build_adaptation(settings, source, 5)
    before = copy.deepcopy(source.state_dict())
    for i in range(1, steps + 1):
        report = built.step(torch.rand(2, 3, 32, 32), i)
    return source, before, built, report


@pytest.mark.parametrize("row", ROWS)
def test_every_row_trains_the_student_and_leaves_the_source(row):
    source, before, built, report = adapt(ROWS[row])
    assert torch.isfinite(report.loss)
    assert all(torch.equal(v, before[k]) for k, v in source.state_dict().items())
    moved = built.student.state_dict()
    assert any(not torch.equal(moved[k], before[k]) for k in before)
    assert (built.teacher is built.student) == (not ROWS[row].get("mt", True))


def test_no_gradient_reaches_the_teacher_and_it_stays_in_eval_mode():
    _, _, built, _ = adapt({})
    assert not built.teacher.training and built.student.training
    assert all(p.grad is None and not p.requires_grad for p in built.teacher.parameters())


def test_toggles_off_equal_plain_self_training_to_the_bit():
    _, _, built, _ = adapt(ROWS["ST"])
    torch.manual_seed(0)
    source = build_network("small_deeplab", 16, 5)
    frozen, student = copy.deepcopy(source).eval(), copy.deepcopy(source).train()
    groups = [
        {"params": list(student.features.parameters()), "lr": 2.5e-4},
        {"params": list(student.classifier.parameters()), "lr": 2.5e-3},
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=5e-4, nesterov=True)
    for _ in range(3):
        images = torch.rand(2, 3, 32, 32)
        labels = frozen(images).argmax(1)
        loss = torch.nn.functional.cross_entropy(student(images), labels, reduction="none").mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ours, plain = built.student.state_dict(), student.state_dict()
    assert all(torch.equal(ours[k], plain[k]) for k in plain)


@pytest.mark.parametrize("unit", ["class", "component"])
def test_the_bank_keeps_near_regions_and_pastes_them_where_they_were(unit):
    bank = PatchBank(3, buffer_size=2, classes_per_image=3, unit=unit)
    labels = torch.zeros(1, 6, 6, dtype=torch.long)
    labels[0, 1:3, 2:5] = 1
    distances = torch.where(labels == 1, 0.5, 1.0)
    images = torch.rand(1, 3, 6, 6)
    bank.store(images, labels, torch.full((1, 6, 6), 0.7), distances)
    assert [len(b) for b in bank.patches] == [0, 1, 0]
    blank = torch.zeros(1, 3, 6, 6)
    mixed, mixed_labels, weights = bank.paste(blank, labels * 0 + 2, torch.zeros(1, 6, 6))
    inside = labels[0] == 1
    assert torch.equal(mixed[0][:, inside], images[0][:, inside])
    assert not mixed[0][:, ~inside].any() and not blank.any()
    assert torch.equal(mixed_labels[0], torch.where(inside, 1, 2))
    assert torch.equal(weights[0], torch.where(inside, 0.7, 0.0))
    for _ in range(3):
        bank.store(images, labels, torch.ones(1, 6, 6), distances)
    assert len(bank.patches[1]) == 2


def test_settings_refuse_what_has_no_meaning_and_name_the_nearest():
    with pytest.raises(StvmError, match="did you mean 'alpha'"):
        Settings().replace(alhpa=1)
    with pytest.raises(StvmError, match="without st has no meaning"):
        Settings().replace(st=False)
    assert Settings().hash() == Settings().replace(alpha="2").hash()
    assert Settings().hash() != Settings().replace(alpha=4).hash()


@pytest.mark.parametrize("policy", ["copy", "ema", "track", "keep"])
def test_only_labelling_and_updates_move_the_teachers_statistics(policy):
    source, before, built, _ = adapt({"teacher_bn": policy})
    key = "features.1.running_mean"
    teacher, student = (n.state_dict()[key] for n in (built.teacher, built.student))
    assert torch.equal(teacher, student) == (policy == "copy")
    assert torch.equal(teacher, before[key]) == (policy == "keep")
    seen = teacher.clone()
    built.teacher(torch.rand(2, 3, 32, 32))
    assert torch.equal(built.teacher.state_dict()[key], seen)


def test_labelling_with_batch_statistics_leaves_mode_and_buffers():
    _, before, built, _ = adapt({"labeller_bn": "batch", "teacher_bn": "keep"})
    own = built.teacher.state_dict()
    assert not built.teacher.training
    assert all(torch.equal(own[k], before[k]) for k in before if "running" in k or "num_b" in k)


def test_a_share_of_the_pseudo_labels_is_a_loss_that_ignores_the_others():
    torch.manual_seed(0)
    source = build_network("small_deeplab", 16, 5)
    settings = Settings().replace(channels=16, **ROWS["ST_share"])
    built = build_adaptation(settings, source, 5)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        confidence, labels = copy.deepcopy(source).eval()(images).softmax(1).max(1)
        logits = copy.deepcopy(source).train()(images)
    for n in range(2):
        for c in labels[n].unique():
            own = labels[n] == c
            least = torch.quantile(confidence[n][own], 0.7)
            labels[n][own & (confidence[n] < least)] = 255
    assert (labels == 255).float().mean() > 0.5
    expected = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(built.step(images, 1).loss, expected)
