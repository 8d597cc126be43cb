# Changen2 for QGIS. `make help` lists the targets.
PYTHON ?= python3
QGIS_PYTHON ?= /usr/bin/python3
VENV := .venv
VENV_QGIS := .venv-qgis
RUN := $(VENV)/bin/python
RUN_QGIS := QT_QPA_PLATFORM=offscreen $(VENV_QGIS)/bin/python
SOURCES := backend/changen2 changen2_qgis tests docs
STAGE := build/changen2_qgis
PLUGINS := $(HOME)/.local/share/QGIS/QGIS3/profiles/default/python/plugins
VERSION := $(shell sed -n 's/^version=//p' metadata.txt)
DEMO ?= demo

.PHONY: help setup setup-backend setup-training setup-qgis demo test test-backend test-plugin test-e2e lint format bench bench-finetune bench-scale bench-synthesis report-synthesis results ablation docs screenshots stage package deploy clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: setup-qgis setup-backend ## Build both environments (installs QGIS where apt is there)

setup-backend: $(VENV)/.ready

$(VENV)/.ready: backend/pyproject.toml backend/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q -c backend/constraints.txt -e 'backend[dev]'
	touch $@

setup-training: $(VENV)/.training-ready

$(VENV)/.training-ready: $(VENV)/.ready
	$(VENV)/bin/pip install -q -c backend/constraints.txt -e 'backend[dev,train]'
	touch $@

setup-qgis: $(VENV_QGIS)/.ready

$(VENV_QGIS)/.ready: tests/install-qgis.sh
	bash tests/install-qgis.sh $(QGIS_PYTHON)
	$(QGIS_PYTHON) -m venv --system-site-packages $(VENV_QGIS)
	$(VENV_QGIS)/bin/pip install -q 'pytest<9.1' pytest-qt pytest-qgis==5.0.2
	touch $@

demo: setup stage ## Sample scene (or BEFORE=… AFTER=…) → change map, QGIS project, picture in demo/
	$(if $(BEFORE),,rm -rf $(DEMO)/scene && $(VENV)/bin/changen2 sample -o $(DEMO)/scene)
	$(VENV)/bin/changen2 detect '$(or $(BEFORE),$(DEMO)/scene/before.tif)' '$(or $(AFTER),$(DEMO)/scene/after.tif)' -o $(DEMO)/run --min-area 10 --overwrite
	bash tests/e2e/show-in-qgis.sh $(DEMO)/run $(DEMO)

test: setup stage test-backend test-plugin test-e2e ## Set up what is needed and pass every test

test-backend: setup-backend stage
	$(RUN) -m pytest tests/backend tests/test_walls.py tests/test_package.py -p no:cacheprovider

test-plugin: setup stage
	$(RUN_QGIS) -m pytest tests/plugin -p no:cacheprovider

test-e2e: setup stage
	$(RUN_QGIS) -m pytest tests/e2e -p no:cacheprovider

lint: setup-backend ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: setup-backend ## Let ruff put the code into shape
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: setup ## Measure speed and memory as ratios taken in one run
	$(RUN) tests/benchmarks/detect.py
	$(RUN) tests/benchmarks/overlap.py
	$(RUN) tests/benchmarks/synthesize.py
	$(RUN_QGIS) tests/benchmarks/plugin_start.py

bench-finetune: setup-training ## Fine-tuning on 20 pairs of a new kind of change against ImageNet features alone, three seeds (needs ../shared)
	mkdir -p runs
	$(RUN) tests/benchmarks/finetune.py --imagery $(or $(IMAGERY),../shared/data) > runs/finetune.json
	cat runs/finetune.json

bench-scale: setup-backend ## Rates of one worker and of two, and what the client spends: the figures of docs/scaling.md
	$(RUN) tests/benchmarks/scale.py

bench-synthesis: setup-backend ## Time synthesis: growing changes, whole pictures, a warm worker
	$(RUN) tests/benchmarks/synthesize.py --parts changes whole worker --changes 256 1024 4096

report-synthesis: setup-training ## Does synthesis hold? HTML in runs/; hours in full, REPORT=--small takes minutes (needs ../shared)
	$(RUN) -m changen2.reports.synthesis --data $(or $(IMAGERY),../shared/data) $(REPORT)

results: setup-backend ## Measure the embedded detectors and rewrite the tables of docs/results.md (needs ../shared)
	$(RUN) -m changen2.reports.results --data $(or $(IMAGERY),../shared/data)

ablation: setup-training ## Which kind of training pair helps, three seeds: an hour or two; then `make results` (needs ../shared)
	test -d runs/ablation/places || $(RUN) -m changen2.training.export_places $(or $(IMAGERY),../shared/data)/train runs/ablation/places --sources banepa kampala spacenet1_rio spacenet2 --gsd 0.3
	test -f runs/ablation/synthesized/manifest.json || $(VENV)/bin/changen2 generate runs/ablation/places/images --labels runs/ablation/places/labels -o runs/ablation/synthesized --pairs 320 --kind S1 --pixel-size 0.3 --init exemplar --most 8 --val-share 0 --seed 0
	$(RUN) -m changen2.training.draw_scenes runs/ablation/scenes --count 363
	$(RUN) -m changen2.training.ablation --data $(or $(IMAGERY),../shared/data) --out runs/ablation

docs: demo ## Refresh the pictures in the README and docs (the Models page needs the folder ../shared)
	mkdir -p docs/images
	cp $(DEMO)/change.png docs/images/demo.png
	$(RUN) docs/help_pictures.py
	$(RUN_QGIS) -m pytest tests/e2e/test_models.py -p no:cacheprovider --basetemp=$(abspath $(DEMO))/e2e
	! test -f $(DEMO)/e2e/models0/models.png || cp $(DEMO)/e2e/models0/models.png docs/images/
	! test -f $(DEMO)/e2e/models0/result.png || cp $(DEMO)/e2e/models0/result.png docs/images/land-cover.png

screenshots: setup stage ## Refresh the pictures of the dock in docs and help: two windows, light and dark
	mkdir -p docs/images
	for window in 1366x768 1920x1080; do for theme in default 'Night Mapping'; do \
	  CHANGEN2_E2E_WINDOW=$$window CHANGEN2_E2E_THEME="$$theme" $(RUN_QGIS) -m pytest tests/e2e/test_synthesize_by_clicks.py -p no:cacheprovider --basetemp=$(abspath build)/screenshots || exit 1; \
	  look=$$(test "$$theme" = default && echo light || echo dark); \
	  for name in drawing swiping assessment; do cp build/screenshots/synthesis0/$$name.png docs/images/$$name-$$window-$$look.png; done; \
	done; done
	$(RUN) docs/help_pictures.py build/screenshots/synthesis0

stage: ## Lay the installable plugin out in build/changen2_qgis
	rm -rf $(STAGE)
	mkdir -p $(STAGE)/backend
	cp -r changen2_qgis/. $(STAGE)/
	cp -r metadata.txt LICENSE README.md CHANGELOG.md resources $(STAGE)/
	cp -r backend/pyproject.toml backend/README.md backend/constraints.txt backend/changen2 $(STAGE)/backend/
	find $(STAGE) \( -name __pycache__ -o -name '*.egg-info' -o -name ruff.toml \) -prune -exec rm -rf {} +

package: stage ## Zip the plugin for the QGIS plugin repository
	cd build && rm -f changen2_qgis-$(VERSION).zip && $(PYTHON) -m zipfile -c changen2_qgis-$(VERSION).zip changen2_qgis
	@test $$(stat -c %s build/changen2_qgis-$(VERSION).zip) -lt 25000000 || (echo "The zip is over 25 MB"; exit 1)

deploy: stage ## Link the staged plugin into the default QGIS profile
	mkdir -p '$(PLUGINS)'
	@test -L '$(PLUGINS)/changen2_qgis' || test ! -e '$(PLUGINS)/changen2_qgis' || { echo '$(PLUGINS)/changen2_qgis is a folder, as Install from ZIP leaves it: uninstall the plugin in QGIS first.'; exit 1; }
	ln -sfn $(abspath $(STAGE)) '$(PLUGINS)/changen2_qgis'

clean: ## Remove what was built
	rm -rf build demo $(VENV) $(VENV_QGIS)
