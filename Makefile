# make demo and make test set up all they need in .venv, from python3 and pip alone.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
TEMPLATE := {{cookiecutter.project_slug}}
DEMO := build/demo
# Sources only, on which the tests run trainer_args.py; lightning is the other name of pytorch-lightning.
RELEASES := 2.0.9 2.1.4 2.2.5 2.3.3 2.4.0 2.5.6 2.6.5
# Nothing is left in the template: what lies there would be baked.
export PYTHONDONTWRITEBYTECODE := 1

BENCHMARKS := command_line start_up checkpoints training processes sweeps

.PHONY: help demo test test-slow bench bench-gpu docs docs-serve pictures check fix bake clean

help: ## Show these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

.venv/.ready: requirements.txt constraints.txt
	$(PYTHON) -m venv .venv
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pip install --quiet -r requirements.txt -c constraints.txt
	for release in $(RELEASES); do \
		$(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target .venv/releases/$$release \
			pytorch-lightning==$$release lightning-fabric==$$release & installing="$$installing $$!"; \
	done; \
	for each in $$installing; do wait $$each || exit 1; done
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target .venv/releases/lightning-2.6.6 lightning==2.6.6
	touch $@

demo: .venv/.ready ## Bake a project with the defaults, train its model and print the test accuracy
	rm -rf $(DEMO)
	$(BIN)/cookiecutter . --no-input --output-dir $(DEMO)
	cd $(DEMO)/* && $(BIN)/python main.py

test: check ## Check the code, bake projects, run their tests and train their models
	$(BIN)/python -m pytest

test-slow: .venv/.ready ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow

bench: .venv/.ready ## Measure, beside what users would use instead; writes docs/benchmarks.md
	missed=0; for each in $(BENCHMARKS); do $(BIN)/python benchmarks/$$each.py || missed=1; done; exit $$missed

bench-gpu: .venv/.ready ## The same on a GPU, beside raw loops with the same settings
	$(BIN)/python benchmarks/gpu.py

docs: .venv/.ready ## Build the documentation site into build/site/html
	$(BIN)/python tools/pages.py build/site
	cd build/site && $(BIN)/zensical build --strict

docs-serve: docs ## Build the site and serve it at http://localhost:8000
	cd build/site && $(BIN)/zensical serve

pictures: .venv/.ready ## Make the pictures of docs/pictures/, which takes minutes and Chromium
	$(BIN)/python tools/pictures.py

check: .venv/.ready ## Lint and type-check the template, its hooks and its tests; writes nothing
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	cd '$(TEMPLATE)' && $(BIN)/mypy --cache-dir ../build/mypy
	$(BIN)/mypy --cache-dir build/mypy-root

fix: .venv/.ready ## Format the code and mend what the linter can
	$(BIN)/ruff check --no-cache --fix .
	$(BIN)/ruff format --no-cache .

bake: .venv/.ready ## Answer the questions and bake a project into build/
	$(BIN)/cookiecutter . --output-dir build

clean: ## Remove what the commands above made
	rm -rf .venv build
