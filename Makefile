# Needs only make and python3 (3.11 or newer); everything else goes into .venv.
#   make demo PIP_ARGS="--extra-index-url URL"      arguments for every pip install, such as PyTorch's CPU index
#   make test WORKERS=8 PYTEST_ARGS="-k query"      one worker a core, about 1 GB of memory each; arguments for pytest
PYTHON   ?= python3
PIP_ARGS ?=
WORKERS  ?= 2
PYTEST_ARGS ?=
VENV     := .venv
BIN      := $(VENV)/bin
INSTALL  := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CHECKED  := build/types
# A worker that runs out of tests takes some of another's.
PYTEST   := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test slow lint ruff types package bench gpu-pack clever-pack clean
.DELETE_ON_ERROR:

# Exit code 1 says that the run finished and that some instance is not verified: no failure of the demo.
demo: $(VENV)/.runtime
	$(BIN)/absint verify absint/samples/mnist_relu_3x50.onnx --domain zonotope --eps 0.01 || test $$? -eq 1

test: $(VENV)/.dev
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

slow: $(VENV)/.dev
	$(PYTEST) -m slow $(PYTEST_ARGS)

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py

lint: ruff types

ruff: $(VENV)/.dev
	$(BIN)/ruff check .

# Types are checked on the installed package: in the repository absint.domains and absint.frontends are other folders.
# The build folder goes first, because setuptools would ship modules that it left there and that are gone since.
types: $(VENV)/.dev
	rm -rf build
	$(INSTALL) --no-deps --no-build-isolation --target $(CHECKED) .
	test -f $(CHECKED)/absint/py.typed
	cd $(CHECKED) && $(CURDIR)/$(BIN)/python -m mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache --strict -p absint

# What users install: sdist and wheel are built, the wheel from the sdist, and the wheel proves something in an environment of its own.
package: $(VENV)/.dev
	rm -rf dist build/fresh
	$(BIN)/python -m build --no-isolation --outdir dist . > /dev/null
	$(PYTHON) -m venv build/fresh
	build/fresh/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_ARGS) dist/*.whl
	cd build && fresh/bin/absint --version && fresh/bin/absint verify $(CURDIR)/absint/samples/mnist_relu_3x50.onnx --index 0:3 --quiet
	cd build && fresh/bin/absint doctor

# One folder for a machine with a card and torch but without a package index: absint as installed, what such a machine lacks (for its
# Python, which need not be ours), and benchmarks/gpu.py. `sh build/gpu/run.sh OUT` there; $(GPU_NETS): a folder with more ONNX files.
GPU_PYTHON ?= 3.12
GPU_LACKS  ?= highspy vnnlib
GPU_NETS   ?= $(ABSINT_GPU_NETS)
GPU        := build/gpu
PLATFORMS  := manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_24_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64
gpu-pack: $(VENV)/.runtime
	rm -rf $(GPU) $(GPU).tar.gz build/lib build/bdist.*
	mkdir -p $(GPU)/nets
	$(INSTALL) $(PIP_ARGS) --no-deps --no-compile --target $(GPU)/site .
	$(INSTALL) $(PIP_ARGS) -c constraints.txt --no-deps --no-compile --only-binary=:all: --python-version $(GPU_PYTHON) --implementation cp \
	  $(foreach one,$(PLATFORMS),--platform $(one)) --target $(GPU)/site $(GPU_LACKS)
	cp benchmarks/gpu.py benchmarks/gpu_nets.py benchmarks/gpu_speed.py benchmarks/gpu_stages.py benchmarks/gpu_training.py benchmarks/gpu.sh $(GPU)/
	mv $(GPU)/gpu.sh $(GPU)/run.sh
	if test -n "$(GPU_NETS)"; then cp "$(GPU_NETS)"/*.onnx* $(GPU)/nets/; fi
	tar -czf $(GPU).tar.gz -C build gpu
	du -sh $(GPU) $(GPU).tar.gz

# The same for benchmarks/papers/clever.py, with images, trained networks and ART: `sh build/clever/run.sh OUT` there.
# $(CLEVER_DATA): the folder of its --data.  $(CLEVER_NETS): of its --nets, where there is one.  $(CLEVER_MB): of the archive, at most.
CLEVER       := build/clever
CLEVER_DATA  ?= ../shared/data
CLEVER_NETS  ?=
CLEVER_MB    ?= 55
CLEVER_LACKS := vnnlib foolbox eagerpy gitpython gitdb smmap requests urllib3 certifi idna charset-normalizer \
  adversarial-robustness-toolbox six tqdm
clever-pack: $(VENV)/.runtime
	rm -rf $(CLEVER) $(CLEVER).tar.gz build/lib build/bdist.*
	mkdir -p $(CLEVER)
	$(INSTALL) $(PIP_ARGS) --no-deps --no-compile --target $(CLEVER)/site .
	$(INSTALL) $(PIP_ARGS) -c constraints.txt --no-deps --no-compile --only-binary=:all: --python-version $(GPU_PYTHON) --implementation cp \
	  $(foreach one,$(PLATFORMS),--platform $(one)) --target $(CLEVER)/site $(CLEVER_LACKS)
	cp benchmarks/papers/clever*.py $(CLEVER)/
	cp benchmarks/papers/clever.sh $(CLEVER)/run.sh
	sh benchmarks/papers/clever_pack.sh $(CLEVER) "$(CLEVER_DATA)" "$(CLEVER_NETS)" $(CLEVER_MB)
	du -sh $(CLEVER) $(CLEVER).tar.gz

clean:
	rm -rf $(VENV) build dist

$(VENV)/.runtime: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -c constraints.txt $(PIP_ARGS) -e .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(INSTALL) -c constraints.txt $(PIP_ARGS) -e ".[dev]"
	touch $@
