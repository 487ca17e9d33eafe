"""The training loop on a training that only adds up what it is given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stvm.data.crops import Positions
from stvm.errors import DivergenceError
from stvm.training import loop
from stvm.training.divergence import DivergenceMonitor
from stvm.training.loop import Rounds, round_ends, run_training
from stvm.training.resume import TrainingCheckpoint
from stvm.training.seeding import random_states

CPU = torch.device("cpu")


class Squares(Positions[Tensor]):
    """Items 0, 1, 4, 9, ..."""

    length = 10

    def __getitem__(self, position: int) -> Tensor:
        return torch.tensor(float(position**2))


class Sum:
    """Adds each batch, and a random number, to its weight."""

    def __init__(self, spoil_at: int = 0) -> None:
        torch.manual_seed(4)
        self.device = CPU
        self.finite = DivergenceMonitor(0, CPU, "lr")
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        self.drawn: list[float] = []
        self.calls: list[str] = []
        self.spoil_at = spoil_at

    def before_first_step(self) -> None:
        self.calls.append("before")

    def take_batch(self, batch: Tensor, iteration: int) -> Mapping[str, Any] | None:
        self.calls.append(f"{iteration}: {batch.tolist()}")
        self.drawn.append(float(torch.rand(())))
        with torch.no_grad():
            self.network.weight += float("inf") if iteration == self.spoil_at else batch.sum()
        return {"weight": self.network.weight.item()} if iteration == 3 else None

    def networks(self) -> list[nn.Module]:
        return [self.network]

    def state_dict(self, iteration: int) -> dict[str, Any]:
        weights = {name: value.clone() for name, value in self.network.state_dict().items()}
        return {"iteration": iteration, "network": weights, "random": random_states()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])


def test_every_batch_is_taken_once_in_order_and_progress_is_told() -> None:
    told: list[tuple[int, int, object]] = []
    made = run_training(Sum, Squares(), 2, 0, lambda *given: told.append(given))
    assert made.calls == [
        *("before", "1: [0.0, 1.0]", "2: [4.0, 9.0]", "3: [16.0, 25.0]"),
        *("4: [36.0, 49.0]", "5: [64.0, 81.0]"),
    ]
    assert told == [
        (1, 5, None),
        (2, 5, None),
        (3, 5, {"weight": 55.0}),
        (4, 5, None),
        (5, 5, None),
    ]
    assert made.network.weight.item() == 285


def test_the_start_is_measured_before_the_first_pass() -> None:
    """A pass may move the statistics of batch norm; the start is the network before it."""
    rounds = Rounds(2, lambda training, number: training.calls.append(f"pass {number}"))
    made = run_training(Sum, Squares(), 2, 0, None, None, rounds)
    assert made.calls[:3] == ["before", "pass 1", "1: [0.0, 1.0]"]
    assert made.calls[4:6] == ["pass 2", "3: [16.0, 25.0]"] and made.calls.count("before") == 1


class Stop(Exception):
    pass


def test_a_resumed_training_takes_the_rest_with_the_same_draws(tmp_path: Path) -> None:
    def stop(done: int, total: int, watch: object = None) -> None:
        if done == 3:
            raise Stop

    whole = run_training(Sum, Squares(), 2, 0)
    kept = TrainingCheckpoint(tmp_path / "state.pt", {}, every_s=0)
    with pytest.raises(Stop):
        run_training(Sum, Squares(), 2, 0, stop, kept)
    torch.manual_seed(99)
    resumed = run_training(Sum, Squares(), 2, 0, None, kept)
    assert resumed.calls == ["4: [36.0, 49.0]", "5: [64.0, 81.0]"]
    assert resumed.drawn == whole.drawn[3:]
    assert resumed.network.weight.item() == 285


def begin(training: Sum, number: int) -> None:
    training.calls.append(f"round {number}")
    training.drawn.append(float(torch.rand(())))


@pytest.mark.parametrize(
    ("at", "calls"),
    [
        (0, "before, round 1, 1, round 2, 2, 3, round 3, 4, 5"),
        (1, "round 2, 2, 3, round 3, 4, 5"),
        (2, "3, round 3, 4, 5"),
        (3, "round 3, 4, 5"),
        (4, "5"),
        (5, ""),
    ],
)
def test_a_round_begins_once_and_not_where_a_training_resumes_within_it(
    at: int, calls: str, tmp_path: Path
) -> None:
    rounds = Rounds(3, begin)
    whole = run_training(Sum, Squares(), 2, 0, None, None, rounds)
    after = torch.get_rng_state()
    kept = TrainingCheckpoint(tmp_path / "state.pt", {}, every_s=0)

    def stop(done: int, total: int, watch: object = None) -> None:
        if done == at:
            raise Stop

    if at:
        with pytest.raises(Stop):
            run_training(Sum, Squares(), 2, 0, stop, kept, rounds)
    torch.manual_seed(99)
    resumed = run_training(Sum, Squares(), 2, 0, None, kept, rounds)
    assert ", ".join(call.partition(":")[0] for call in resumed.calls) == calls
    assert resumed.drawn == whole.drawn[len(whole.drawn) - len(resumed.drawn) :]
    assert resumed.network.weight.item() == 285
    assert torch.equal(torch.get_rng_state(), after)


def test_a_state_is_saved_before_a_pass_though_none_is_due(tmp_path: Path) -> None:
    def killed(training: Sum, number: int) -> None:
        if number == 2:
            raise Stop

    kept = TrainingCheckpoint(tmp_path / "state.pt", {}, every_s=1e9)
    with pytest.raises(Stop):
        run_training(Sum, Squares(), 2, 0, None, kept, Rounds(3, killed))
    resumed = run_training(Sum, Squares(), 2, 0, None, kept, Rounds(3, begin))
    assert resumed.calls[:2] == ["round 2", "2: [4.0, 9.0]"]
    assert kept.resumed["iteration"] == 1


def test_rounds_are_of_equal_length_and_the_last_ones_take_the_rest() -> None:
    assert round_ends(9, 3) == [(0, 3), (3, 6), (6, 9)]
    assert round_ends(8, 3) == [(0, 2), (2, 5), (5, 8)]
    assert round_ends(4, 1) == [(0, 4)]


class Picky(Sum):
    """Refuses a state after it has taken its weight."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        raise KeyError("bank")


def test_a_training_that_half_loaded_a_state_begins_anew(tmp_path: Path) -> None:
    kept = TrainingCheckpoint(tmp_path / "state.pt", {}, every_s=0)
    started = Sum()
    started.network.weight.data.fill_(7.0)
    kept.save(started.state_dict(3), CPU)
    made = run_training(Picky, Squares(), 2, 0, None, kept)
    assert made.calls[0] == "before" and len(made.calls) == 6
    assert made.network.weight.item() == 285
    assert kept.set_aside == tmp_path / "state.unusable" and kept.resumed == {}


@pytest.mark.parametrize(("took", "wait"), [(0.5, 100.0), (2.0, 100.0), (6.0, 300.0)])
def test_states_are_saved_at_their_interval_and_take_a_fiftieth_of_the_time(
    took: float, wait: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1000.0, 2000.0, 2000.0 + took])
    monkeypatch.setattr("stvm.training.resume.time.monotonic", lambda: next(times))
    kept = TrainingCheckpoint(tmp_path / "state.pt", {}, every_s=100)
    assert kept.next == 1100
    kept.save({"iteration": 1}, CPU)
    assert kept.next == 2000 + took + wait


def test_a_weight_that_is_not_finite_at_the_end_is_an_error() -> None:
    with pytest.raises(DivergenceError, match="iteration 5"):
        run_training(lambda: Sum(spoil_at=5), Squares(), 2, 0)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_batches_lie_in_pinned_memory_for_a_gpu_alone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def loaded(crops: Squares, *given: Any, pinned: bool) -> list[Tensor]:
        asked.append((*given, pinned))
        return []

    def made() -> Sum:
        training = Sum()
        training.device = torch.device(kind)
        return training

    monkeypatch.setattr(loop, "batches", loaded)
    run_training(made, Squares(), 2, 3)
    assert asked == [(2, 3, 0, 5, kind == "cuda")]
