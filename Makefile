.PHONY: demo test test-all check docs gpu mutants

PYTHON = .venv/bin/python
CODE = stvm studies reports benchmarks

.venv/ready: pyproject.toml constraints.txt
	python3.11 -m venv .venv
	.venv/bin/pip install --quiet --no-compile -c constraints.txt -e ".[dev,corrupt,tensorboard,onnx,mlflow,wandb,docs]"
	@# pip compiles on one core; files that are for another Python do not compile. Left out is what
	@# hardly any command imports: Python compiles a file when it is first imported.
	.venv/bin/python -m compileall -qq -j 0 -x '/(tests?|pip|mypyc?|libcst|transformers/models)/' .venv/lib || true
	touch .venv/ready

demo: .venv/ready
	$(PYTHON) studies/ablation.py --preset demo --seeds 0 1 2; ended=$$?; \
	$(PYTHON) reports/make_tables.py --tables 4 && \
	$(PYTHON) reports/make_figure.py --out results/adaptation.png && exit $$ended

test: .venv/ready
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n 3 --dist loadgroup -m "not long"

test-all: .venv/ready
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n 3 --dist loadgroup

check: .venv/ready
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy $(CODE)
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n 2 -m "not slow"

docs: .venv/ready
	$(PYTHON) -m sphinx -W --keep-going -q docs/reference docs/reference/html
	@echo "the reference is docs/reference/html/index.html"

gpu: .venv/ready
	$(PYTHON) benchmarks/gpu.py

mutants: .venv/ready
	.venv/bin/pip install --quiet -c constraints.txt -e ".[mutants]"
	OMP_NUM_THREADS=1 $(PYTHON) benchmarks/mutants.py
