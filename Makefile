# The commands of this repository; `make` alone lists them.
.PHONY: help setup build run demo test bench down migrate unadopt changes accept reject replay

PYTHON := target/venv/bin/python
STACK := $(PYTHON) infra/local/stack.py
FUNCTIONS := $(foreach folder,$(wildcard functions/*),--package $(notdir $(folder)))

help:
	@echo "make run    start everything on this machine, play a lesson, stay up"
	@echo "make demo   the same, and exit; the report is target/demo.json"
	@echo "make test   every check and every test"
	@echo "make bench  measure start-up and settlement against their limits"
	@echo "make down   stop what make run started"
	@echo "make migrate | unadopt | changes | accept | reject | replay   see the comments in this file"

setup:
	@./infra/local/setup.sh

build: setup
	@echo "build: compiling functions, simulators and the demo (minutes the first time)"
	@cargo build --workspace --bins

run: build
	@$(STACK) up
	@target/debug/demo
	@$(STACK) wait

demo: build
	@$(STACK) up
	@target/debug/demo; status=$$?; $(STACK) down; exit $$status

test: setup
	@$(PYTHON) infra/local/test.py

bench: setup
	@echo "bench: building with the release profile (some minutes the first time)"
	@cargo build --release $(FUNCTIONS) --package bench
	@target/release/bench target/release; first=$$?; \
	url="$$($(STACK) test-database-up)"; \
	echo; echo "bench: what following costs the platform"; \
	target/release/bench-following "$$url"; second=$$?; \
	echo; echo "bench: settling sessions (some minutes: the table grows to ten million)"; \
	target/release/bench-settlement "$$url"; third=$$?; \
	$(STACK) test-database-down; exit $$((first + second + third))

down: setup
	@$(STACK) down

# With DATABASE_URL set to the owner's connection. PLATFORM=file.sql has the platform's views, CHECK=1 only says.
migrate:
	@cargo run --quiet --package migrations --bin migrate -- $(if $(CHECK),--check) $(PLATFORM)

# Takes Firstbell off a database again; BOOKS=1 although there are entries in its ledger.
unadopt:
	@cargo run --quiet --package migrations --bin unadopt -- $(if $(BOOKS),--with-books)

# What the platform changed and we did not follow: make changes, then make accept (or reject) CHANGE=… BY=… REASON=…
changes:
	@cargo run --quiet --package operate --bin changes -- list

accept reject:
	@cargo run --quiet --package operate --bin changes -- $@ "$(CHANGE)" "$(BY)" "$(REASON)"

# make replay PROVIDER=lessonspace [EVENT=…], with DATABASE_URL set.
replay:
	@cargo run --quiet --package operate --bin replay -- $(PROVIDER) $(EVENT)
