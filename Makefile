# `make run` and `make test` need Python 3.11 or newer with venv, and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test install demo bench lint lock clean

run: .venv/runtime.stamp
	@exec $(BIN)/auth-server serve $(if $(PORT),--port $(PORT))

test: .venv/dev.stamp
	scripts/system-packages
	scripts/test

lint: .venv/dev.stamp
	scripts/lint

install: .venv/dev.stamp

demo: .venv/runtime.stamp
	@exec $(BIN)/python -m examples.demo

bench: .venv/runtime.stamp
	@exec $(BIN)/python -m benchmarks $(ARGS)

# A stamp is made anew when its lock file or the project's own metadata changes.
.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/runtime.stamp: .venv/bin/python requirements.lock pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: .venv/runtime.stamp requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# Needs uv on the PATH; the locks carry hashes and no index address.
LOCK := uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
	--custom-compile-command "make lock"
lock:
	$(LOCK) pyproject.toml scripts/build.in -o requirements.lock
	$(LOCK) pyproject.toml scripts/build.in --extra dev -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
