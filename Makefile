# Every target works in a fresh clone. It first creates what it needs, in .venv and .cache.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILD_IMAGE ?= docker build
PYTEST := $(BIN)/python -m pytest

.PHONY: help demo test acceptance newest-uv image-test bench zipapp image share dist docs lint format clean

help:
	@echo 'make demo        the fault and the fix, on real packages'
	@echo 'make test        the tests that need no package index'
	@echo 'make acceptance  the tests that do'
	@echo 'make image-test  the documented Dockerfiles, built with buildah (as root, on Debian)'
	@echo 'make newest-uv   the tests of what uv answers, with the newest uv'
	@echo 'make bench       uvpip compared with uv, the snippet and pip: times and ratios'
	@echo 'make lint        ruff, mypy and the layers of the package'
	@echo 'make zipapp      uvshim in one file, dist/uvshim.pyz; needs only Python, and pip or uv'
	@echo 'make image       an image to copy that file from, called uvshim; needs docker'
	@echo 'make share       shell completion and manual pages, in share/'
	@echo 'make docs        the documentation, in site/'
	@echo 'make dist        the files of a release, checked'

# The development environment, and the wheels that the offline tests install.
$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo 'uvshim needs Python 3.10 or later: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo 'The module venv does not work. On Debian: apt-get install python3-venv' >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv==0.13.9'
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --editable . \
		--group dev --group acceptance --group docs
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps \
		--dest .cache/wheels setuptools==75.8.0
	touch $@

test: $(VENV)/ready
	$(PYTEST) -m 'not index' -n auto --dist worksteal

acceptance: $(VENV)/ready
	$(PYTEST) -m 'index and not image' -n auto --dist worksteal

# The tests that fail if uvshim no longer understands an answer of uv, with the newest uv.
newest-uv: $(VENV)/ready
	$(BIN)/uv pip install --quiet --no-config --no-deps --upgrade --target .cache/newest-uv uv
	.cache/newest-uv/bin/uv --version
	UVSHIM_TEST_UV=$(CURDIR)/.cache/newest-uv/bin/uv $(PYTEST) -m 'not index' -n auto \
		tests/uv tests/test_uvpip*.py tests/commands/test_run.py

demo: $(VENV)/ready
	@$(BIN)/python tools/demo.py

# The documented Dockerfiles, built with buildah: as root, with Debian's packages.
image-test: $(VENV)/ready
	tools/image-test.sh

# How long it takes. See docs/benchmarks.md.
bench: $(VENV)/ready
	$(BIN)/python tools/bench.py
	$(BIN)/python tools/bench_images.py

# One file with everything that uvshim needs: dist/uvshim.pyz. This needs Python 3.10 or later, and
# pip or uv, but no development environment.
zipapp:
	$(PYTHON) tools/zipapp.py

# The image `uvshim`, to copy the file from. BUILD_IMAGE is any program that builds Dockerfiles.
image: zipapp
	$(BUILD_IMAGE) --tag uvshim --file image/Dockerfile dist

# Completion and manual pages. They are committed.
share: $(VENV)/ready
	$(BIN)/python tools/share.py

# The documentation, in site/. It fails if a link leads nowhere (but not with --quiet).
docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The files of a release, checked. See docs/releasing.md.
dist: $(VENV)/ready zipapp
	rm -f dist/*.whl dist/*.tar.gz dist/SHA256SUMS
	env -u SOURCE_DATE_EPOCH $(BIN)/uv build --quiet --out-dir dist \
		--build-constraints tools/build-constraints.txt
	$(BIN)/twine check --strict dist/*.whl dist/*.tar.gz
	$(BIN)/check-wheel-contents dist/*.whl
	cd dist && sha256sum *.whl *.tar.gz *.pyz > SHA256SUMS

lint: $(VENV)/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/ready
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) .cache build dist site
