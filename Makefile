# Everything runs in .venv, which is created when it is first needed. Outside this folder, only the caches of pip, uv,
# DVC and matplotlib are written.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help repro quick ready-made classic wheel page test test-all test-faults ui experiments check check-small bench figures screenshots lock format notebook team

help:  ## show this list
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: .venv/ready  ## run the pipeline: download, train, sample, evaluate
	@git config user.email >/dev/null || echo "note: git user.email is not set, and dvc exp run --queue needs it (git config user.email ...)"
	@dcgan params
	@dvc repro
	-@dcgan publish --workspace
	@dcgan report

NAME ?= quick
quick: .venv/ready  ## try a change of the code: a quarter of the training, rough scores, as an experiment (NAME=after names it)
	@dvc exp remove -q $(NAME) 2>/dev/null || true
	dvc exp run --temp --name $(NAME) -S train.images=300000 -S sample.count=20000 -S evaluate.images=5000
	@dvc exp show --no-pager --hide-workspace --drop '.*[./]|samples|Created'
	@echo "These scores are rough, and comparable only with those of other quick runs: make quick NAME=after"

test: .venv/test  ## run the tests: about 3 minutes on 2 cores
	pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not faults and not extended"

test-all: test .venv/extras .venv/cluster .venv/team  ## run the tests, and those that take long or need Chromium, npm, or more packages
	pytest -n 2 --dist loadfile --no-loadscope-reorder -m "extended and not faults"

test-faults: .venv/test .venv/cluster .venv/team  ## run the long tests with kills, full disks and dead servers: most of an hour
	pytest -s -m faults

team: .venv/team  ## start PostgreSQL, an S3 server and an MLflow server with users on this machine (docs/team.md)
	@exec python deploy/team_store.py

ui: .venv/ready  ## compare runs in MLflow
	@dcgan ui

experiments: .venv/ready  ## show DVC's experiments: scores, and the parameters that differ
	@DVC_PAGER=cat dvc exp show --only-changed --drop '.*/|samples|precision|label_accuracy|Created'  # --no-pager hides what does not fit

check: .venv/ready  ## compare the last scores with the baseline: exit 0 OK, 1 regression, 2 not comparable
	@dcgan check

check-small: .venv/ready  ## run a small pipeline in a temporary folder and compare it with a small baseline: minutes, for CI
	@dvc exp remove -q small-pipeline 2>/dev/null || true
	dvc exp run --temp --name small-pipeline $$(python -c "import json; print(*('-S ' + s for s in json.load(open('metrics/small_baseline.json'))['settings']))")
	dcgan check small-pipeline --baseline metrics/small_baseline.json

bench: .venv/ready  ## measure images per second, next to the usual tutorial loop
	@dvc repro -q download
	python benchmarks/speed.py

figures: .venv/ready  ## copy the pictures of the last run to docs/images
	cp metrics/figures/real_beside_generated.png docs/images/generated_and_real.png
	cp metrics/training/animation.gif docs/images/training.gif
	cp metrics/training/curves.png metrics/training/networks.png docs/images/
	dcgan draw 2026 --seed 1 --generator src/dcgan/ready_made_generator.safetensors -o docs/images/year.png

ready-made: .venv/ready  ## make the generator of the last run, with its scores, the ready-made one; then `make page`
	cp models/generator.safetensors src/dcgan/ready_made_generator.safetensors
	cp metrics/evaluate.json metrics/ready_made.json

classic: .venv/ready  ## train the DCGAN of the tutorials, as an experiment of that name: takes as long as `make repro`
	@dvc exp remove -q classic 2>/dev/null || true
	dvc exp run --temp --name classic -S model.canvas=false -S model.discriminator_norm=batch -S model.minibatch_std=false \
		-S train.r1_gamma=0 -S train.learning_rate=0.0002 -S train.beta1=0.5 -S train.beta2=0.999 -S train.decay_from=1 -S train.ema_half_life=0
	@echo "next to the scores here: dcgan report --markdown classic"

wheel: .venv/ready  ## build the package with the ready-made generator in dist/
	rm -rf build
	$(BIN)/python -m pip wheel --disable-pip-version-check -q --no-deps --no-build-isolation -w dist .
	rm -rf build

page: .venv/ready  ## build page/index.html, which draws numbers in a browser with the ready-made generator
	@dvc repro -q download
	python page/build_page.py

notebook: .venv/extras  ## run notebooks/tour.ipynb; notebooks/tour_run.ipynb is the same with pictures
	jupyter execute notebooks/tour.ipynb --output=tour_run.ipynb

screenshots: .venv/test  ## take the pictures of the page and of MLflow for the docs; needs Chromium
	python docs/screenshots.py

LOCK = uv pip compile -q --generate-hashes --universal --python-version 3.11
lock: .venv/ready  ## resolve the locks, requirements*.txt, from the ranges in pyproject.toml
	$(LOCK) pyproject.toml --extra pipeline --extra datasets --group install -o requirements.txt
	$(LOCK) --group test -c requirements.txt -o requirements-test.txt
	$(LOCK) pyproject.toml --extra onnx --group extended-test -c requirements.txt -c requirements-test.txt -o requirements-extras.txt
	$(LOCK) --group team -c requirements.txt -o requirements-team.txt
	$(LOCK) pyproject.toml --extra cluster -c requirements.txt -o requirements-cluster.txt

format: .venv/test  ## format and lint with ruff
	ruff format .
	ruff check --fix .

.venv/ready: requirements.txt pyproject.toml install.py
	@$(PYTHON) -c 'import sys; sys.exit("error: Python 3.11 or newer is required, but $(PYTHON) is " + sys.version.split()[0] + "; choose another: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	@test -e $@ && test -x $(BIN)/python || $(PYTHON) -m venv --clear .venv  # an interrupted installation starts over
	@$(BIN)/python install.py requirements.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.venv/test: .venv/ready requirements-test.txt
	@$(BIN)/python install.py requirements-test.txt
	@touch $@

.venv/extras .venv/cluster .venv/team: .venv/%: .venv/test requirements-%.txt
	@$(BIN)/python install.py requirements-$*.txt
	@touch $@
