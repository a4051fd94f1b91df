# Bregma. `make demo` and `make test` are all that a newcomer needs; both install what is missing.
#
#   make demo        one whole simulated tumour removal on the real clock; leaves out/demo.{mcap,rrd,json}
#   make test        every test
#   make build       target/release/bregma
#   make setup       system packages (apt, without asking; elsewhere it prints what is missing)
#   make lint        rustfmt and clippy, warnings are errors
#   make bench       the benches of the crates and of the pipeline
#   make bench-peers the pipeline beside other people's channels, the network beside other people's runtimes
#   make bench-peers-env  their runtimes, in an environment of their own (about 6 GB)
#   make bench-register register-tables  registrations beside other people's: docs/registration-bench.md
#   make register-tables every table about registration, brain shift and the ladder, written anew: some hours
#   make bench-register-env  their libraries, in an environment of their own (about 2 GB)
#   make bench-openigtlink  our codec beside the C++ library and crates.io's openigtlink-rust, in one run
#   make bench-cuda  the network and our kernels on a GPU, beside the processor
#   make fuzz        every fuzz target for FUZZ_SECONDS (60); starts from what is kept, writes to corpus/
#   make screenshot  docs/display.png from a real run
#   make deny        licences, advisories, sources (installs cargo-deny if it is missing)
#   make docs        API documentation

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test build setup peers lint bench bench-peers bench-peers-env bench-register bench-register-env register-tables bench-openigtlink bench-cuda fuzz screenshot deny docs

CARGO ?= cargo
BREGMA := target/release/bregma
OUT ?= out

# Extra test data lies beside a checkout on some machines; where it does not, those tests say `not run`.
BREGMA_TEST_DATA ?= $(wildcard ../shared/data)
ifneq ($(BREGMA_TEST_DATA),)
export BREGMA_TEST_DATA := $(abspath $(BREGMA_TEST_DATA))
else
unexport BREGMA_TEST_DATA
endif

# Where tests find the Python of other people's programs; `make peers` fills it.
export BREGMA_PEERS := $(abspath target/peers)
# The same for runtimes that the bench of the network is held against; `make bench-peers-env` fills it.
export BREGMA_BENCH_PEERS := $(abspath target/bench-peers)
# And for registrations; `make bench-register-env` fills it.
export BREGMA_REGISTER_PEERS := $(abspath target/register-peers)

PACKAGES := build-essential pkg-config \
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev gstreamer1.0-tools gstreamer1.0-libav \
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
# Other people's programs that tests hold ours against; a test whose peer cannot be had prints `not run`.
TEST_PACKAGES := dcmtk dicom3tools python3-venv valgrind
PEERS := pydicom==3.0.2 highdicom==0.28.2 onnxruntime==1.24.1 nvidia-cuda-nvrtc==13.5.37 SimpleITK==2.5.7 numpy
BENCH_PEERS := numpy==2.4.6 onnx==1.23.2 onnxruntime==1.24.1 openvino==2026.4.1 nncf==3.4.0 torch==2.15.0
REGISTER_PEERS := scikit-surgerycalibration==1.2.6 scikit-surgerycore==0.8.3 SimpleITK==2.5.7 open3d==0.20.0
SCREENSHOT_PACKAGES := python3-venv xvfb xauth mesa-vulkan-drivers libxkbcommon-x11-0 ffmpeg
RERUN := 0.36.3

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

# $(call install,PACKAGES): installs what is missing with apt; elsewhere prints what is missing and goes on.
define install
	@missing=; \
	for p in $(1); do \
	  [ "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || missing="$$missing $$p"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
	  echo "setup: this system has no apt; please install what these Debian packages hold:$$missing"; exit 0; \
	fi; \
	as_root=; \
	if [ "$$(id -u)" != 0 ]; then \
	  if sudo -n true 2>/dev/null; then as_root="sudo -n"; \
	  else echo "setup: not root and no password-less sudo; please run: apt-get install$$missing"; exit 1; fi; \
	fi; \
	echo "setup: installing$$missing"; \
	$$as_root apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq --no-install-recommends $$missing >/dev/null
endef

setup:
	$(call install,$(PACKAGES))

build: setup
	$(CARGO) build --release --bin bregma

demo: build
	@mkdir -p $(OUT)
	$(BREGMA) demo --record $(OUT)/demo.mcap --rrd $(OUT)/demo.rrd --report $(OUT)/demo.json

test: setup peers
	$(CARGO) test --release --workspace --locked

# Not having them fails no build: the tests say so.
peers:
	-$(call install,$(TEST_PACKAGES))
	-@target/peers/bin/python -c "import pydicom, highdicom, onnxruntime, nvidia, SimpleITK" 2>/dev/null || { \
	  python3 -m venv target/peers && target/peers/bin/pip install -q $(PEERS); }

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings

bench: build
	$(CARGO) bench --workspace
	@mkdir -p $(OUT)
	$(BREGMA) bench pipeline --report $(OUT)/bench-pipeline.json
	$(BREGMA) bench perception --report $(OUT)/bench-perception.json

bench-peers: setup bench-peers-env
	@mkdir -p $(OUT)
	$(CARGO) run --release --features bench-peers --bin bregma -- bench pipeline --report $(OUT)/bench-pipeline.json
	$(BREGMA) bench perception --peers --report $(OUT)/bench-perception.json \
	  --table docs/perception-bench.md --plot docs/perception-bench.png

# PyPI's PyTorch does not start without NVIDIA's libraries, which are most of it. Not having it fails no bench: the
# bench says who was not run, and why.
bench-peers-env:
	-$(call install,python3-venv)
	-@target/bench-peers/bin/python -c "import nncf, onnx, onnxruntime, openvino, torch" 2>/dev/null || { \
	  python3 -m venv target/bench-peers && target/bench-peers/bin/pip install -q $(BENCH_PEERS); }

bench-register: build bench-register-env
	@mkdir -p $(OUT)
	$(BREGMA) bench registration --peers --report $(OUT)/bench-registration.json --table docs/registration-bench.md

# What takes long keeps its lines and goes on where it was interrupted; the ladder's cases are kept with its page.
register-tables: bench-register
	$(BREGMA) register table --out docs/registration.md
	$(BREGMA) register shift-table --cases 50 --first-seed 1000000 --seconds 5 --out docs/brain-shift.md
	$(BREGMA) register scans-table --cases 50 --first-seed 1000000 --kept $(OUT)/scans-table.jsonl --out docs/scans.md
	for world in home foreign; do \
	  $(BREGMA) scenario run --suite tests/scenarios/lifelike.toml --cases 50 --first-seed 1000000 --world $$world \
	    --report docs/ladder/$$world.json --resume; done
	$(BREGMA) scenario ladder docs/ladder/home.json docs/ladder/foreign.json --out docs/ladder.md

# Not having them fails no bench: the bench says who was not run, and why.
bench-register-env:
	-$(call install,python3-venv libgomp1 libx11-6 libgl1)
	-@target/register-peers/bin/python -c "import open3d, SimpleITK, sksurgerycalibration, sksurgerycore" 2>/dev/null || { \
	  python3 -m venv target/register-peers && target/register-peers/bin/pip install -q $(REGISTER_PEERS); }

# In a workspace of its own: what openigtlink-rust depends on is no part of the project.
bench-openigtlink:
	$(call install,g++ libopenigtlink-dev)
	cd runtime/openigtlink/peers && $(CARGO) bench

bench-cuda: setup
	$(CARGO) bench -p bregma-perception --features cuda --bench cuda

FUZZ_SECONDS ?= 60
fuzz:
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	@for dir in $$(find . -path ./target -prune -o -type d -name fuzz -print); do \
	  for target in $$($(CARGO) fuzz list --fuzz-dir $$dir); do \
	    mkdir -p $$dir/corpus/$$target; \
	    $(CARGO) +nightly fuzz run --fuzz-dir $$dir $$target $$dir/corpus/$$target \
	      $$(ls -d $$dir/kept/$$target 2>/dev/null) -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	  done; \
	done

# A real run, ended in the middle of the removal, looked at by rerun's own viewer on a virtual screen.
screenshot: build
	$(call install,$(SCREENSHOT_PACKAGES))
	@mkdir -p $(OUT)
	@[ -x $(OUT)/rerun/bin/rerun ] || { python3 -m venv $(OUT)/rerun && $(OUT)/rerun/bin/pip install -q rerun-sdk==$(RERUN); }
	-$(BREGMA) demo --headless --seconds 45 --rrd $(OUT)/screenshot.rrd
	@rm -f $(OUT)/screenshot.png
	@# The viewer panics as it closes, after it has saved the picture: what counts is the picture.
	-xvfb-run -a -s "-screen 0 1920x1080x24" $(OUT)/rerun/bin/rerun --window-size 1600x900 \
	  --screenshot-to $(OUT)/screenshot.png $(OUT)/screenshot.rrd >/dev/null 2>&1
	ffmpeg -loglevel error -y -i $(OUT)/screenshot.png -vf scale=1600:-1 docs/display.png
	@echo "docs/display.png"

deny:
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check

docs: setup
	$(CARGO) doc --workspace --no-deps --document-private-items
