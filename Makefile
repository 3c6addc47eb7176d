# The two commands a newcomer needs are `make demo` and `make test`; each sets up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check audit train clean

$(VENV)/.runtime: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	@touch $@

$(VENV)/.test: $(VENV)/.runtime pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[test,train,scan,ray]'
	@touch $@

demo: $(VENV)/.runtime  ## start the page on http://127.0.0.1:7860
	$(BIN)/python app.py

test: $(VENV)/.test  ## run the test suite: two files at a time, then those that drive a browser
	$(BIN)/python -m pytest -m "not browser" -n 2 --dist loadfile
	$(BIN)/python -m pytest -m browser

audit: $(VENV)/.test  ## known weaknesses of what is installed; asks the network
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit

check: $(VENV)/.test  ## what CI runs besides the tests: format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

train: $(VENV)/.test  ## train on DATA=folder (faces/, clips/ and their CSVs); INIT=backbone.safetensors
	$(BIN)/python -m detector.training --data $(DATA) --out runs/main $(if $(INIT),--init $(INIT))

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
