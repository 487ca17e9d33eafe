"""Facts about a file of weights: family, heads, branches, classes, input; whether it fits.

With --preset the checkpoint must fit the preset's network and classes, key by key, as it would
when a study starts from it; with --score its mIoU on the target is measured too, and recorded as
the row Source of the preset's tables. A source model far from its published score was read in
the wrong way, or is another one: --expect 36.6 ends with 1 if it is more than 2 points off.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from studies.arguments import add_places, preset_name
from studies.commands.lookup import own_network
from stvm.data.fingerprints import Contents
from stvm.errors import StvmError
from stvm.files import file_sha256
from stvm.records.results import Results
from stvm.settings import Settings, parse_assignments
from stvm.settings.presets import PRESETS, find_preset

if TYPE_CHECKING:
    import torch

    from stvm.networks import SegmentationNetwork

WITHOUT_PRESET = ("network", "checkpoint_family", "aspp_branches")
"""Settings that matter to a file alone."""
TOLERANCE = 2.0
"""Points that two codes of the field differ by on one model."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--preset", type=preset_name, help=f"check against it: {', '.join(PRESETS)}"
    )
    parser.add_argument("--score", action="store_true", help="measure its mIoU; needs --preset")
    parser.add_argument(
        "--expect", type=float, metavar="MIOU", help="expected mIoU in per cent; with --score"
    )
    add_places(parser, "--results", "--cache")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="setting=value",
        help="checkpoint_family and aspp_branches, where they cannot be told; others with --preset",
    )


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    # torch takes seconds to import, and --help needs none.
    from stvm.pretrained import open_checkpoint
    from stvm.source_model.loading import correspondence_of, open_source_model

    path: Path = options.file
    if options.score and not options.preset:
        raise StvmError("--score needs --preset: it says on which images and by which protocol")
    if options.expect is not None and not options.score:
        raise StvmError("--expect needs --score: without it no mIoU is measured to compare with")
    if options.expect is not None and not 1 <= options.expect <= 100:
        raise StvmError(f"--expect {options.expect:g}: mIoU is given in per cent, as in 36.6")
    changes = parse_assignments(options.settings)
    if "source_checkpoint" in changes:
        raise StvmError(f"the checkpoint is FILE ({path}): leave source_checkpoint out")
    if options.preset:
        settings = find_preset(options.preset).settings(**changes, source_checkpoint=str(path))
        checkpoint = open_source_model(settings, path)
    else:
        idle = Settings().flat().keys() - {*WITHOUT_PRESET}
        if name := next((name for name in changes if name in idle), ""):
            raise StvmError(
                f"{name} has no effect without --preset: leave it out, or give a preset"
            )
        settings = Settings().replace(**{"network": "deeplabv2_resnet101"} | changes)
        checkpoint = open_checkpoint(
            *(path, settings.source.checkpoint_family, settings.network.aspp_branches),
            own_network(changes.get("network"), "", options.results, "network="),
        )
    print(f"{path}: {checkpoint.line()}")
    print(f"sha256 {file_sha256(path)}")
    if options.preset:
        classes = correspondence_of(settings, checkpoint)
        if remark := classes.remark(settings.evaluation.unmatched):
            print(remark)
    network = None
    if checkpoint.architecture:
        network = checkpoint.build()
        print(f"all keys fit{f'; preset {options.preset}' if options.preset else ''}")
    return score(settings, options, network) if options.score else 0


def score(
    settings: Settings, options: argparse.Namespace, network: "SegmentationNetwork | None"
) -> int:
    """Measure the source model and record it; 1 if it is far from what is expected.

    Args:
        settings: settings of the preset.
        options: options of the command.
        network: the source model, to be timed on a pass; None where the file does not say.
    """
    import torch

    from stvm.trial.inputs import check_inputs
    from stvm.trial.recorded_name import named, refuse_other_files
    from stvm.trial.run_and_record import run_and_record
    from stvm.trial.source_figure import source_row

    results, contents = Results(options.results), Contents(options.cache)
    row = named(source_row(settings), results, contents)
    refuse_other_files([row], results, contents)
    if results.read(row.hash()) is None:
        check_inputs([row], options.cache)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recorded = results.read(row.hash()) is not None
    with nullcontext() if recorded or network is None else _telling(row, network, device, options):
        record = run_and_record(row, results, options.cache, device, "Source")
    if record.miou is None:
        raise StvmError(f"{results.record_path(row.hash())}: {record.reason}")
    result = record.result
    found = 100 * record.miou
    parts = {f"mIoU over {len(result['class_names'])} classes": record.miou}
    means: dict[str, float] = dict(result.get("means") or {})  # type: ignore[arg-type]
    parts |= {f"over {n}": value for n, value in means.items()}
    shown = ", ".join(f"{name} {100 * value:.1f}" for name, value in parts.items())
    protocol = result["protocol"]["name"]
    print(f"{shown}; split {result['split']}, protocol {protocol}; trial {record.hash}")
    if options.expect is None or abs(found - options.expect) <= TOLERANCE:
        return 0
    print(
        f"{found:.1f} is more than {TOLERANCE:g} points off the {options.expect:g} expected: look "
        "at checkpoint_family, aspp_branches and protocol, or at the file",
        file=sys.stderr,
    )
    return 1


@contextmanager
def _telling(
    row: Settings,
    network: "SegmentationNetwork",
    device: "torch.device",
    options: argparse.Namespace,
) -> Iterator[None]:
    """Say how long the measurement of a row takes, and in the block how far it is."""
    from studies.commands.pass_times import Told, planned_pixels, seconds_a_pixel, watching_passes
    from stvm.durations import duration

    data, total = row.data, planned_pixels(row, options.cache)
    each = seconds_a_pixel(network.to(device), data.height, data.width)
    images = total / (data.height * data.width)
    where = "GPU" if device.type == "cuda" else "CPU, without a GPU"
    print(
        f"measuring takes {images:,.0f} passes of {data.width}x{data.height} pixels: about "
        f"{duration(each * total)} on the {where}, by the time of one",
        flush=True,
    )
    with watching_passes(Told(total, lambda line: print(line, flush=True))):
        yield
