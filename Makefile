# marcot's commands for developers. Every target creates the environment it needs; running it again is quick.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
MODEL  ?= qwen2.5-coder-0.5b
GIVEN_MODEL := $(if $(filter command environment,$(firstword $(origin MODEL))),$(MODEL))
QUESTION ?= A library has 3 shelves with 24 books each. It lends out 19 books and gets 7 of them back. How many books are on the shelves now?

# The versions that we test with; pyproject.toml states the range that works. TORCH is passed to pip as it is, options
# included, so you can choose another build: make TORCH="torch==2.13.0+cpu --index-url ..." demo
TORCH  := torch==2.13.0
PINS   := transformers==5.23.0 accelerate==1.15.0 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6 gguf==0.19.0 \
          huggingface_hub==2.4.0 jinja2==3.1.6 typer==0.29.2 rich==15.0.0 setuptools==80.9.0 hypothesis==6.170.15 math-verify==0.9.0 \
          triton==3.7.1 matplotlib==3.11.2 pytest==9.2.0 pytest-xdist==3.8.0 pytest-benchmark==5.3.1 ruff==0.17.6 mypy==2.4.1 clang-format==23.1.5 \
          build==1.6.1 pyarrow==26.0.1 twine==7.0.0 pyelftools==0.33 msgpack==1.2.4 \
          fastapi==0.165.0 uvicorn==0.54.0 httptools==0.9.0 uvloop==0.23.0 pydantic==2.14.4 prometheus-client==0.26.0 openai==3.57.0 schemathesis==4.32.5

.PHONY: help demo test test-sanitized test-adapters lint bench bench-cpu clean
help:            ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), "marcot needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12 ..."'
	$(PYTHON) -m venv $(VENV)

# Without compiling 15,000 modules, which takes half a minute: Python compiles those that are imported, and keeps them.
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check --no-compile
unexport PYTHONDONTWRITEBYTECODE

# Only the engine, for users.
$(VENV)/.engine: pyproject.toml Makefile | $(BIN)/python
	$(PIP) $(TORCH)
	$(PIP) -e '.[hub]'
	@touch $@

# Everything that tests, benchmarks and checks need.
$(VENV)/.dev: $(VENV)/.engine
	$(PIP) $(PINS) -e '.[dev]'
	@touch $@

demo: $(VENV)/.engine  ## install, download a small real model, search a question, show the tree
	$(BIN)/marcot search --model $(MODEL) --vote-margin 0 "$(QUESTION)"

# The tests of a file, or of a build of the CPU kernels, stay in one process, because they share models and compilations
# (tests/support/distribution.py). Two processes need 8 GB, for the tests that compare checkpoints with transformers.
# make test WORKERS=0 runs all tests in one process, in order.
PYTEST := $(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadfile -p no:benchmark --durations=20
test: $(VENV)/.dev     ## install and run every test
	$(PYTEST)

test-sanitized: $(VENV)/.dev  ## test the C++ under AddressSanitizer, UBSan and, for threaded code, ThreadSanitizer (needs g++)
	KERNEL_SETS='sanitized*' $(PYTEST) tests/kernels -k sanitized

test-adapters: $(VENV)/.dev  ## test what works with other tools against them, which it installs (about 800 MB)
	$(BIN)/python -m pip install -q --disable-pip-version-check 'lm_eval[api]==0.4.13' treequest==0.3.3 trl==1.16.0 \
	  litellm==1.110.2 dspy==3.4.1 inspect-ai==0.3.285 'ray[data]==2.60.0'
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps llm-reasoners==1.0.2  # its models need more
	$(PYTEST) tests/engine/adapters tests/engine/replicas/test_ray_pool.py

# Links to the folders under their installed names: mypy follows relative imports only inside a package.
$(VENV)/typing/marcot/__init__.py:
	mkdir -p $(@D) && cd $(@D) && ln -sfn $(CURDIR)/engine/root/*py* $(CURDIR)/engine $(CURDIR)/kernels $(CURDIR)/model .
	ln -sfn $(CURDIR)/bench $(VENV)/typing/bench

lint: $(VENV)/.dev $(VENV)/typing/marcot/__init__.py  ## run ruff, clang-format and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $$(find kernels/cpu/src -type f) tests/kernels/*.cpp
	MYPYPATH=$(VENV)/typing $(BIN)/mypy -p marcot -p bench

# To run a part: make bench MODELS="smollm2-135m /path/to/checkpoint" BRANCHES="1 8"
bench: $(VENV)/.dev    ## time decoding the branches of a tree against per-branch decoding and transformers
	$(BIN)/python -m bench.cpu.tree_decode $(if $(MODELS),--models="$(MODELS)") $(addprefix --branches=,$(BRANCHES))

# The engines that marcot is compared with. If one does not install, its column stays empty. llama.cpp is compiled for
# this machine.
PEERS := llama-cpp-python==0.3.36 ctranslate2==4.8.5 openvino-genai==2026.4.1.0 nncf==3.4.0
$(VENV)/.bench: $(VENV)/.dev
	for peer in $(PEERS); do CMAKE_ARGS="-DGGML_NATIVE=ON" \
	  $(PIP) $$peer || echo "bench-cpu: no $$peer here"; done
	@touch $@

# To run a part: make bench-cpu MODELS="smollm2-135m" BRANCHES="1 8" CONTESTANTS="marcot-fast llama.cpp"
# MODELS may name any checkpoint by its path: what an engine cannot read is listed below the table.
# With BENCH_PYTHON=/path/to/python the other engines run in that interpreter and nothing is installed.
# LLAMA_BATCHED_BENCH="/path/to/llama-batched-bench -rtr -fa on" adds that program; CHECK=1 fails if a target is missed.
bench-cpu: $(if $(BENCH_PYTHON),$(VENV)/.dev,$(VENV)/.bench)  ## time decoding on the CPU beside other engines
	BENCH_PYTHON="$(BENCH_PYTHON)" $(BIN)/python -m pytest bench/cpu/test_engines.py -v --benchmark-quiet \
	  $(if $(MODELS),--models="$(MODELS)") $(if $(BRANCHES),--branches="$(BRANCHES)") \
	  $(if $(CONTESTANTS),--contestants="$(CONTESTANTS)") $(if $(CHECK),--check) \
	  $(if $(LLAMA_BATCHED_BENCH),--batched-bench="$(LLAMA_BATCHED_BENCH)")

# To run a part: make bench-search QUICK=1 CONTESTANTS="llama.cpp OpenVINO-GenAI". The whole run takes half an hour, and
# writes bench/results/search.json and the table in docs/benchmarks.md; a part writes search_part.json. BENCH_PYTHON
# works as in bench-cpu. LLAMA_SERVER="/path/to/llama-server" is needed for that contestant. CHECK=1 fails if a target
# is missed. MODEL="/path/to/checkpoint" takes any checkpoint; which contestants cannot read it is listed below the table.
.PHONY: bench-search
bench-search: $(if $(BENCH_PYTHON),$(VENV)/.dev,$(VENV)/.bench)  ## time a whole tree search beside other ways of doing it
	BENCH_PYTHON="$(BENCH_PYTHON)" LLAMA_SERVER="$(LLAMA_SERVER)" $(BIN)/python -m bench.search $(if $(QUICK),--quick) \
	  $(if $(GIVEN_MODEL),--model="$(MODEL)") \
	  $(if $(CONTESTANTS),--contestants="$(CONTESTANTS)") $(if $(QUESTIONS),--questions=$(QUESTIONS)) \
	  $(if $(ROLLOUTS),--rollouts=$(ROLLOUTS)) $(if $(ROUNDS),--rounds=$(ROUNDS)) $(if $(CHECK),--check)

# To run a part: make bench-quality MODELS="smollm2-135m" QUESTIONS=50 TEXT_TOKENS=1024. After Ctrl-C the same command
# resumes. CHECK=1 fails if accuracy changes by more than chance explains.
.PHONY: bench-quality
bench-quality: $(VENV)/.dev  ## measure how fast compute changes predictions and answers
	$(BIN)/python -m bench.quality $(if $(MODELS),--models="$(MODELS)") $(if $(QUESTIONS),--questions=$(QUESTIONS)) \
	  $(if $(TEXT_TOKENS),--text-tokens=$(TEXT_TOKENS)) $(if $(THREADS),--threads=$(THREADS)) $(if $(CHECK),--check)

# To run a part: make kernel-report TARGETS="sm_80 sm_90" VARIANTS="lm_head*, embed*" WORKERS=1. CHANGED=1 compiles only
# what is not in bench/results/kernel_report.json or has changed since. UPDATE=1 writes that table. CHECK=1 fails if a
# target is missed, or if the table is better or outdated. TRITON=/path compiles with another version of Triton, which
# pip install --no-deps --target /path triton==3.6.0 has put there; the table is for the one that we pin.
.PHONY: kernel-report
kernel-report: $(VENV)/.dev  ## compile every GPU kernel for every kind of GPU, without a GPU, and inspect the binaries
	$(if $(TRITON),PYTHONPATH="$(TRITON)") $(BIN)/python -m bench.kernel_report $(if $(TARGETS),--targets="$(TARGETS)") $(if $(VARIANTS),--variants="$(VARIANTS)") \
	  $(if $(CHANGED),--changed) $(if $(WORKERS),--workers=$(WORKERS)) $(if $(CHECK),--check) $(if $(UPDATE),--update)

# On a machine without a network, make gpu-check BARE=python3 uses that interpreter as it is and installs nothing.
ifdef BARE
GPU_NEEDS  := $(VENV)/typing/marcot/__init__.py
GPU_PYTHON := PYTHONPATH=$(CURDIR)/$(VENV)/typing:$(CURDIR) $(BARE)
else
GPU_NEEDS  := $(VENV)/.dev
GPU_PYTHON := $(BIN)/python
endif

# To run a part: make gpu-check SECTIONS="attention decode" RANDOM="7b". The sections are tests, attention, head, linears,
# kernels, decode, prompts, search, logprobs and peers. Models are random, of sizes 0.5b, 1.5b and 7b, unless
# MODEL=/path/to/checkpoint is given. vLLM and SGLang may be installed for another interpreter,
# BENCH_PYTHON=/path/to/python. The program ends with 1 if a number is wrong (CHECK=1: or a target is missed), with 3 if
# there is no GPU (make itself then says "Error 3" and ends with 2).
.PHONY: gpu-check
gpu-check: $(GPU_NEEDS)  ## on a machine with a GPU: test and time everything, in one report
	$(GPU_PYTHON) -m bench.gpu.check $(if $(GIVEN_MODEL),--model="$(MODEL)") $(if $(RANDOM),--random="$(RANDOM)") \
	  $(if $(SECTIONS),--sections="$(SECTIONS)") $(if $(CHECK),--check)

# To tune one op: make gpu-tune OPS="attention". Commit the table that it writes.
.PHONY: gpu-tune
gpu-tune: $(GPU_NEEDS)  ## on a machine with a GPU: find the fastest kernel shapes, for kernels/triton/tuned
	$(GPU_PYTHON) -m bench.gpu.tune $(if $(OPS),--ops="$(OPS)")

# CHECK=1 fails if a target is missed.
.PHONY: bench-bytes
bench-bytes: $(VENV)/.dev  ## count the bytes that attention over trees reads, with our plans and those of other systems
	$(BIN)/python -m bench.attention.bytes_read $(if $(CHECK),--check)

# CHECK=1 fails if a target is missed.
.PHONY: bench-planner
bench-planner: $(VENV)/.dev  ## time the planner
	$(BIN)/python -m bench.attention.planner_cost $(if $(CHECK),--check)

# BESIDE=/path/to/another/checkout times that checkout too, in alternation in the same run; CHECK=1 fails if a target is
# missed, UPDATE=1 writes bench/results/host.json.
.PHONY: bench-host
bench-host: $(VENV)/.dev  ## time the engine's host side alone, on kernels that answer at once
	$(BIN)/python -m bench.host $(if $(BESIDE),--beside="$(BESIDE)") $(if $(CHECK),--check) $(if $(UPDATE),--update)

# Less of it: make bench-server CLIENTS=50 SECONDS=60, or PART="restart beside" (of load, restart, beside and peers).
# MODEL="/path/to/checkpoint" takes any checkpoint, for all parts. LLAMA_SERVER="/path/to/llama-server -fa on" adds the
# part peers; so does VLLM_SERVER="/path/to/python -m vllm.entrypoints.openai.api_server --model /path/to/checkpoint".
# CHECK=1 fails if a limit is exceeded, UPDATE=1 writes what was measured to bench/results/server.json.
.PHONY: bench-server
bench-server: $(VENV)/.dev  ## load a server, kill and restart it, and time it beside others
	$(BIN)/python -m bench.server $(if $(CLIENTS),--clients=$(CLIENTS)) $(if $(SECONDS),--seconds=$(SECONDS)) \
	  $(if $(GIVEN_MODEL),--model="$(MODEL)" --beside-model="$(MODEL)") \
	  $(if $(LLAMA_SERVER),--llama-server="$(LLAMA_SERVER)") $(if $(VLLM_SERVER),--vllm-server="$(VLLM_SERVER)") \
	  $(addprefix --part=,$(PART)) $(if $(CHECK),--check) $(if $(UPDATE),--update)

# A smaller one: make bench-runs QUESTIONS=10000. CHECK=1 fails if a limit is missed, UPDATE=1 writes
# bench/results/runs.json.
.PHONY: bench-runs
bench-runs: $(VENV)/.dev  ## watch a run of 100,000 questions and a tree of 100,000 nodes, and weigh a question for the driver of a pool
	$(BIN)/python -m bench.runs $(if $(QUESTIONS),--questions=$(QUESTIONS)) $(if $(CHECK),--check) $(if $(UPDATE),--update)

# BESIDE and UPDATE=1 work as in bench-host.
.PHONY: bench-counts
bench-counts: $(VENV)/.dev  ## count the kernels and bytes of a decoded token, without a GPU
	$(BIN)/python -m bench.host.step_counts $(if $(BESIDE),--beside="$(BESIDE)") $(if $(UPDATE),--update)

# tests/attack/README.md lists the attacks. make attack ATTACK=kills MINUTES=60; SEED=1 changes the trials, COUNT=1000
# their number.
.PHONY: attack
attack: $(VENV)/.dev     ## run one of the attacks in tests/attack
	PYTHONPATH=tests $(BIN)/python -m attack.$(ATTACK) $(if $(SEED),--seed=$(SEED)) $(if $(COUNT),--count=$(COUNT)) \
	  $(if $(MINUTES),--minutes=$(MINUTES))

clean:           ## remove the environment and all caches (downloaded models stay)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
