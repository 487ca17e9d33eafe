"""The trials of one search in Optuna's storage, by their number."""

from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState


class StoredTrials:
    """The trials of one search, as the storage has them.

    Attributes:
        study: Optuna's study.
        storage: Optuna's storage.
        study_id: number of the study in the storage.
    """

    study: optuna.Study
    storage: BaseStorage
    study_id: int

    def pruned(self) -> set[str]:
        """Hashes of the trials that were pruned."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
        return {t.user_attrs["hash"] for t in trials if "hash" in t.user_attrs}

    def in_state(self, state: TrialState) -> list[optuna.trial.FrozenTrial]:
        """The trials in this state."""
        return self.study.get_trials(deepcopy=False, states=(state,))

    def trial_id(self, number: int) -> int:
        """The storage's own number of a trial."""
        return self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)

    def attribute(self, number: int, key: str, value: Any) -> None:
        """Note a value under a key of a trial."""
        self.storage.set_trial_user_attr(self.trial_id(number), key, value)

    def count_up(self, number: int, key: str) -> int:
        """Add one to the count under a key of a trial; the count."""
        frozen = self.storage.get_trial(self.trial_id(number))
        count = int(frozen.user_attrs.get(key, 0)) + 1
        self.attribute(number, key, count)
        return count
