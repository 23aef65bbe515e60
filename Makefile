# The two commands of the README, on a machine with Python 3.10 or newer, its venv module, Node 20 or newer with npm, and make; all else is
# installed here. Without Node: make WITHOUT_VIEWER=yes ... goes on without the 3D view.
# A CPU build of torch is a tenth of the size: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

PYTHON ?= python3
TORCH := torch==2.13.0
LABEL_STUDIO := label-studio==1.23.2
WITHOUT_VIEWER ?=
VIEWER := backend/viewer
VIEWER_PARTS := $(if $(WITHOUT_VIEWER),,$(VIEWER)/dist/index.html)
# two processes; the tests with a real Label Studio share one of them
PYTEST_OPTIONS ?= -n 2 --dist loadgroup

.PHONY: demo test install peers audit release-check clean

demo: install
	.venv/bin/sam4d demo

test: install
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/bandit --quiet --configfile pyproject.toml --recursive sam4d converters backend
	$(if $(WITHOUT_VIEWER),,npm test --silent --prefix $(VIEWER))
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest $(PYTEST_OPTIONS)

# side by side, because both mostly unpack
install:
	$(MAKE) --no-print-directory -j 2 $(VIEWER_PARTS) .venv/installed .venv-label-studio/installed

# The stamp is made last: an environment that was not finished is made anew.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.12 ...")'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	# torch first: whatever asks for it later must find this version there
	.venv/bin/python -m pip install --quiet --no-compile $(TORCH) -c constraints.txt
	.venv/bin/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	touch $@

.venv-label-studio/installed: constraints-label-studio.txt
	test -x .venv-label-studio/bin/python || $(PYTHON) -m venv .venv-label-studio
	.venv-label-studio/bin/python -m pip install --quiet --no-compile $(LABEL_STUDIO) -c constraints-label-studio.txt
	touch $@

# the field's own tools, which some tests read our exports with; those tests skip without them
peers: .venv-peers/installed

.venv-peers/installed: constraints-peers.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --no-compile nuscenes-devkit datumaro segments-ai -c constraints-peers.txt
	# datumaro brings the OpenCV that wants a screen's libraries; the other one's files have the last word
	.venv-peers/bin/python -m pip install --quiet --no-compile --no-deps --force-reinstall opencv-python-headless -c constraints-peers.txt
	touch $@

# The wheel and the sdist, in dist/, and whether they do what they must. TAG=v1.2.3 also asks whether they may be called so.
release-check: install
	rm -rf dist
	.venv/bin/python -m build --outdir dist
	.venv/bin/python -m tests.release_check dist $(if $(TAG),--tag $(TAG))

# Known vulnerabilities of every pinned version. It asks PyPI and the npm registry, and fails where they cannot say of one. What
# audit-exceptions.txt explains is let pass, in constraints.txt alone.
EXPLAINED = $(shell sed -n 's/^\([A-Z]*-[0-9A-Za-z-]*\) .*/--ignore-vuln \1/p' audit-exceptions.txt)
audit: .venv-audit/installed
	failed=; for pins in constraints.txt constraints-label-studio.txt constraints-peers.txt; do \
		echo "$$pins:"; test $$pins = constraints.txt && explained="$(EXPLAINED)" || explained=; \
		.venv-audit/bin/pip-audit --strict --progress-spinner off --no-deps --disable-pip $$explained --requirement $$pins || failed=yes; \
	done; \
	$(if $(WITHOUT_VIEWER),,npm audit --audit true --prefix $(VIEWER) || failed=yes;) test -z "$$failed"

.venv-audit/installed: constraints.txt
	test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --no-compile pip-audit -c constraints.txt
	touch $@

$(VIEWER)/node_modules/installed: $(VIEWER)/package.json $(VIEWER)/package-lock.json
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' && npm --version >/dev/null || \
		{ echo 'Node 20 or newer with npm is needed for the 3D view (or go without: make WITHOUT_VIEWER=yes ...)' >&2; exit 1; }
	npm ci --silent --no-audit --no-fund --prefix $(VIEWER)
	touch $@

$(VIEWER)/dist/index.html: $(VIEWER)/node_modules/installed $(wildcard $(VIEWER)/src/* $(VIEWER)/*.mjs $(VIEWER)/tsconfig.json)
	npm run --silent --prefix $(VIEWER) build

clean:
	rm -rf $(VIEWER)/node_modules $(VIEWER)/dist dist .venv .venv-label-studio .venv-peers .venv-audit .mypy_cache .ruff_cache .pytest_cache .hypothesis test-output
