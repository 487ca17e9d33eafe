"""The offline passes of an objective: one before each of its rounds, over all target images."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from stvm.data.crops import CropsInImages, Positions, TargetCrops
from stvm.data.images import Images
from stvm.files.scratch import own_folder
from stvm.objectives.label_store import CropsWithLabels, LabelStore, image_size, round_folder
from stvm.objectives.objective import Objective, TargetImages
from stvm.objectives.offline_pass import takes_single_images
from stvm.settings import PEERS, Settings
from stvm.settings.rounds import refuse_more_rounds
from stvm.training.builder import device_of
from stvm.training.loop import Progress, round_ends
from stvm.training.pass_progress import telling
from stvm.training.peer_builder import Adapted, PeerAdaptation, objective_class, own_values
from stvm.training.resume import TrainingCheckpoint


@dataclass(frozen=True)
class Plan:
    """The rounds of a training.

    Attributes:
        crops: Items of all batches; with labels for an objective that makes them offline, or with
            whole images for one that asks for them.
        rounds: Number of rounds.
    """

    crops: Positions[Any]
    rounds: int = 1


def plan_rounds(settings: Settings, crops: TargetCrops, labels: Path) -> Plan:
    """The rounds that the objective of a trial asks for.

    Args:
        settings: Settings of the trial.
        crops: Crops of all batches, without labels.
        labels: Folder for labels.

    Raises:
        StvmError: There are more rounds than iterations.
    """
    kind = _class_of(settings)
    if kind is None:
        return Plan(crops)
    total = settings.training.iterations
    rounds = kind.rounds_of(own_values(settings))
    refuse_more_rounds(settings.method.procedure, rounds, total)
    if kind.whole_images:
        return Plan(CropsInImages(crops), rounds)
    if not kind.labels_offline:
        return Plan(crops, rounds)
    ends = [last * settings.training.batch for _, last in round_ends(total, rounds)]
    return Plan(CropsWithLabels(crops, image_size(crops.images), labels, ends), rounds)


@dataclass(frozen=True)
class LabelPlace:
    """Where the labels of a training are kept.

    Attributes:
        folder: Folder for the labels of all rounds.
        trial: Digest of the facts that a saved state must match too: settings, images, source model
            and versions. Labels of an interrupted pass are taken up if it is the same.
    """

    folder: Path = Path()
    trial: str = ""


NO_LABELS = LabelPlace()
"""Place of a training without labels."""


@contextmanager
def label_place(settings: Settings, checkpoint: TrainingCheckpoint | None) -> Iterator[LabelPlace]:
    """Place for the labels of a trial: beside its saved state, or a temporary folder."""
    kind = _class_of(settings)
    if kind is None or not kind.labels_offline:
        yield NO_LABELS
    elif checkpoint:
        facts = json.dumps(checkpoint.facts, sort_keys=True).encode()
        yield LabelPlace(checkpoint.labels, hashlib.sha256(facts).hexdigest()[:16])
    else:
        with own_folder() as folder:
            yield LabelPlace(folder)


class OfflinePasses:
    """Begins the rounds of an objective; a training without one has nothing to begin.

    Args:
        adaptation: Networks and objective of the training.
        images: Target images.
        place: Place for the labels.
        iterations: Number of iterations of the training.
        progress: Progress of the training, which hears of the passes.
    """

    def __init__(
        self,
        adaptation: Adapted,
        images: Images,
        place: LabelPlace,
        iterations: int,
        progress: Progress | None = None,
    ) -> None:
        self.adaptation = adaptation
        self.images = images
        self.place = place
        self.iterations = iterations
        self.progress = progress
        self.store: LabelStore | None = None

    def begin(self, number: int) -> None:
        """Makes the pass of a round, counted from 1; labels that are not needed are removed.

        Raises:
            StvmError: The disk has no room for the labels.
        """
        if not isinstance(self.adaptation, PeerAdaptation):
            return
        objective, student = self.adaptation.objective, self.adaptation.student
        if objective.labels_offline:
            for past in range(1, number - objective.keeps_last_labels):
                shutil.rmtree(round_folder(self.place.folder, past), ignore_errors=True)
            self.store = self._open(number, f"{self.place.trial} {digest_of(student)}")
            self.store.restore_random()
        rounds = f" {number} of {self.adaptation.rounds}" if self.adaptation.rounds > 1 else ""
        tell = telling(self.progress, f"pass before round{rounds}", len(self.images))
        alone = takes_single_images(objective)
        images = TargetImages(self.images, device_of(student), tell, alone)
        objective.begin_round(number, images, self.store)
        if self.store:
            assert self.store.complete, "a pass that left images out"
            tell(len(images))

    def state_dict(self) -> dict[str, Any]:
        """The round whose labels are in use; empty without labels."""
        if self.store is None:
            return {}
        number = int(self.store.folder.name.removeprefix("round-"))
        return {"labels": {"round": number, "identity": self.store.identity}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the labels of an interrupted round.

        Raises:
            ValueError: The labels are not there any more.
        """
        if "labels" not in state or not isinstance(self.adaptation, PeerAdaptation):
            return
        objective, done = self.adaptation.objective, state["iteration"]
        ends = [last for _, last in round_ends(self.iterations, self.adaptation.rounds)]
        if done == self.iterations or (done in ends and not objective.keeps_last_labels):
            return
        self.store = self._open(state["labels"]["round"], state["labels"]["identity"], begin=False)
        if not self.store.complete:
            raise ValueError("the labels of the round are not on disk")
        if done not in ends:
            images = TargetImages(self.images, device_of(self.adaptation.student))
            objective.resume_round(images, self.store)

    def _open(self, number: int, identity: str, begin: bool = True) -> LabelStore:
        folder = round_folder(self.place.folder, number)
        return LabelStore(folder, len(self.images), image_size(self.images), identity, begin)


def digest_of(network: nn.Module) -> str:
    """Digest of the weights and buffers of a network."""
    found = hashlib.sha256()
    for name, value in network.state_dict().items():
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return found.hexdigest()[:16]


def _class_of(settings: Settings) -> type[Objective] | None:
    peer = PEERS.get(settings.method.procedure)
    return objective_class(peer) if peer else None
