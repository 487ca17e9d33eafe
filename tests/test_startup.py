"""Imports in a new process: a command that runs no trial loads neither Ray nor torch."""

import os
import subprocess
import sys
from pathlib import Path

from stvm.records.record import Record
from stvm.records.results import Results

ROOT = Path(__file__).resolve().parents[1]
STUDIES = sorted(
    path.stem
    for path in (ROOT / "studies").glob("[!_]*.py")
    if 'if __name__ == "__main__"' in path.read_text()
)


def run(program: str, *arguments: str) -> None:
    """Run the program in a new process, without this process's variables for Ray."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "TUNE_"))}
    words = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_list_and_a_wrong_command_line_load_nothing_that_is_slow(tmp_path: Path) -> None:
    assert {"ablation", "optuna_search", "readings", "variance"} <= set(STUDIES)
    program = (
        "import runpy, sys\n"
        "results, *names = sys.argv[1:]\n"
        "def code(*words):\n"
        "    sys.argv = list(words)\n"
        "    try:\n"
        "        runpy.run_path(words[0], run_name='__main__')\n"
        "    except SystemExit as end:\n"
        "        return end.code\n"
        "for name in names:\n"
        "    assert code(f'studies/{name}.py', '--list', '--results', results) == 0\n"
        "    assert code(f'studies/{name}.py', 'alhpa=3') == 2\n"
        "assert not {'torch', 'ray', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert code('reports/make_tables.py', '--help') == 0\n"
        "assert not {'torch', 'ray'} & set(sys.modules)"
    )
    run(program, str(tmp_path), *STUDIES)


def test_what_looks_at_results_loads_neither_ray_nor_torch(tmp_path: Path) -> None:
    Results(tmp_path).write(Record("0" * 12, "done", {"seed": 1}, {"miou": 0.5}))
    program = (
        "import sys; from studies.__main__ import main\n"
        "for name in ('status', 'export', 'retry-failed'):\n"
        "    assert main([name, '--results', sys.argv[1]]) == 0\n"
        "assert main(['settings']) == 0\n"
        "assert not {'torch', 'ray'} & set(sys.modules)"
    )
    run(program, str(tmp_path))


def test_what_runs_trials_loads_no_torch_and_sets_rays_environment_before_ray_is_imported() -> None:
    program = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ray':\n"
        "            assert set(sys.argv[1:]) <= set(os.environ), 'Ray came first'\n"
        "sys.meta_path.insert(0, Watch())\n"
        "import stvm.tune.run_search\n"
        "assert 'ray' in sys.modules and 'torch' not in sys.modules"
    )
    told = ["RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness", "RAY_CHDIR_TO_TRIAL_DIR"]
    run(program, *told, "TUNE_DISABLE_SIGINT_HANDLER")
