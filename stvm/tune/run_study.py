"""Ray Tune as the executor of tasks that are not yet recorded; it keeps nothing itself."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stvm.records.results import Results
from stvm.records.tensorboard_events import require_tensorboard, write_missing
from stvm.source_model.location import uses_local_files
from stvm.study import Studies, Study, Trial
from stvm.tune.cluster import check_nodes, connected, free_resources
from stvm.tune.confirmations import accept_cpu, refuse_random_source
from stvm.tune.options import RunOptions
from stvm.tune.sharing import sweep
from stvm.tune.slots import Resources, Slots, plan_slots
from stvm.tune.tasks import has_source, interruptible, missing_sources, run_tasks


@dataclass(frozen=True)
class RunResult:
    """The outcome of a study's run.

    Attributes:
        errors: one line for each task that could not be carried out.
    """

    errors: tuple[str, ...]


def execute(
    study: Study | Studies, results: Results, run_options: RunOptions, retry_failed: bool = False
) -> RunResult:
    """Run the trials of a study that are not recorded, source models first.

    A trial whose record cannot be read does not run: the file may hold what it has found.

    Raises:
        StvmError: no trial fits the machine, or the nodes of a cluster do not share the folders.
        Interrupted: Ctrl-C or a request to terminate.
    """
    if run_options.tensorboard:
        require_tensorboard()
    finished = _execute(study, results, run_options, retry_failed)
    if run_options.tensorboard:
        write_missing(results, dict.fromkeys(trial.hash for trial in study.trials), [])
    return finished


def _execute(
    study: Study | Studies, results: Results, run_options: RunOptions, retry_failed: bool
) -> RunResult:
    todo = study.missing(results, retry_failed, [])
    if not todo:
        study.write_manifest(results)
        return RunResult(())
    refuse_random_source([t.settings for t in todo], run_options.cache, run_options.from_scratch)
    check_files(todo, run_options.cache, study.given)
    with interruptible(results), connected(run_options) as nodes:
        slots = prepare_slots(run_options, nodes, results)
        if slots.gpus:
            show_memory(todo, slots.gpus)
        else:
            show_cpu(todo, run_options)
        study.write_manifest(results)
        sweep(results)
        sources = missing_sources(todo, run_options.cache)
        errors: tuple[str, ...] = ()
        if sources:
            errors = run_tasks("source", sources, results, run_options, slots, retry_failed)
            todo = [t for t in todo if has_source(t, run_options.cache)]
        if todo:
            errors += run_tasks("trial", todo, results, run_options, slots, retry_failed)
        return RunResult(errors)


def check_files(trials: Iterable[Trial], cache: Path, given: Collection[str] = ()) -> None:
    """Check the user's images and checkpoints; print a line for each that needs a remark.

    Args:
        trials: trials to be started.
        cache: folder of prepared images and of earlier checks.
        given: names of the settings that the user gave.

    Raises:
        StvmError: one is missing or does not fit.
    """
    brought = [trial.settings for trial in trials if uses_local_files(trial.settings)]
    # torch takes seconds to import, while which Ray could start: only for those who bring files.
    if brought:
        from stvm.trial.inputs import check_inputs

        for line in check_inputs(brought, cache, given):
            print(line, flush=True)


def show_memory(trials: Sequence[Trial], gpus: float) -> None:
    """Print the GPU memory that the largest trial is estimated to need."""
    # Where there is a GPU, a study is longer than torch takes to import.
    from stvm.memory.memory_report import gpu_memory, largest, lines

    try:
        told = lines(largest(t.settings for t in trials), gpu_memory(), gpus)
    except Exception as error:
        # It rests on fake tensors, which torch may change; no study should end for a forecast.
        told = [f"GPU memory is not estimated: {type(error).__name__}: {str(error)[:100]}"]
    print("\n".join(told), flush=True)


def show_cpu(trials: Sequence[Trial], run_options: RunOptions) -> None:
    """Print the time that the longest trial takes on the CPU.

    Raises:
        StvmError: it takes hours, and nobody asked for the CPU.
    """
    asked = run_options.on_cpu or run_options.gpus == 0
    told = accept_cpu([trial.settings for trial in trials], asked)
    if told:
        print(told, flush=True)


def prepare_slots(run_options: RunOptions, nodes: Sequence[Resources], results: Results) -> Slots:
    """Slots on a cluster that is fit for the study."""
    free = free_resources() if run_options.address else None
    slots = plan_slots(nodes, run_options.cpus, run_options.gpus, free)
    if run_options.address:
        check_nodes([results.root, run_options.cache])
    for note in slots.notes:
        print(note, flush=True)
    return slots
