.PHONY: test check

.venv/ready: pyproject.toml constraints.txt
	python3.11 -m venv .venv
	.venv/bin/pip install --quiet -c constraints.txt -e ".[dev]"
	touch .venv/ready

test: .venv/ready
	OMP_NUM_THREADS=2 .venv/bin/python -m pytest -q

check: .venv/ready
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy stvm
	OMP_NUM_THREADS=2 .venv/bin/python -m pytest -q
