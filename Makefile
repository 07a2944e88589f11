# make test: everything, Rust and Python; installs what it needs.
# The Python environment lives in the cache, so a fresh clone is quick.

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cloze
REQUIREMENTS := tests/python/requirements.txt tests/python/requirements-exchange.txt \
	python/tests/requirements.txt
VENV := $(CACHE)/venv-$(shell cat $(REQUIREMENTS) | cksum | cut -d' ' -f1)
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)

.PHONY: test test-rust test-python lint bench schemas fuzz

test: test-rust test-python

test-rust:
	cargo test --release --locked

# The binary is the one that the Rust tests were built with. The wheel's libraries are built in the
# same folder, with the same features: only its own crate and PyO3 are new.
WHEEL := $(TARGET)/python
test-python: $(VENV)/ready
	cargo test --release --locked --no-run --quiet
	rm -rf $(WHEEL)
	cd python && CARGO_TARGET_DIR=$(TARGET) $(VENV)/bin/maturin build --release --locked \
		--quiet --out $(WHEEL)/wheels
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps \
		--target $(WHEEL)/site $(WHEEL)/wheels/cloze-*.whl
	CLOZE_BIN=$(TARGET)/release/cloze HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1 \
		$(VENV)/bin/python -m pytest -q -p no:cacheprovider tests/python
	PYTHONPATH=$(WHEEL)/site HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1 \
		$(VENV)/bin/python -m pytest -q -p no:cacheprovider python/tests

$(VENV)/ready: $(REQUIREMENTS)
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt \
		-r python/tests/requirements.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -r tests/python/requirements-exchange.txt
	touch $@

lint:
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --locked

bench:
	cargo bench --locked

schemas:
	CLOZE_WRITE_SCHEMAS=1 cargo test --release --locked --test schemas

# A minute of coverage-guided fuzzing of each target; SECONDS=600 for more. Only the crates of the
# workspace are compiled anew, instrumented.
SECONDS ?= 60
fuzz:
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/fuzz/instrument \
		cargo build --release --locked --package cloze-fuzz
	for target in masking tokenizing; do \
		mkdir -p $(TARGET)/fuzz/$$target && cd $(TARGET)/fuzz && \
		$(TARGET)/release/$$target $$target \
			-max_total_time=$(SECONDS) -max_len=2048 -print_final_stats=1 || exit 1; \
	done
