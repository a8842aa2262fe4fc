# The commands of this repository; `make` alone lists them.
.PHONY: help setup build run demo test bench down migrate replay

PYTHON := target/venv/bin/python
STACK := $(PYTHON) infra/local/stack.py
FUNCTIONS := $(foreach folder,$(wildcard functions/*),--package $(notdir $(folder)))

help:
	@echo "make run    start everything on this machine, play a lesson, stay up"
	@echo "make demo   the same, and exit; the report is target/demo.json"
	@echo "make test   every check and every test"
	@echo "make bench  measure start-up and settlement against their limits"
	@echo "make down   stop what make run started"

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
	echo; echo "bench: settling sessions (some minutes: the table grows to ten million)"; \
	target/release/bench-settlement "$$($(STACK) test-database-up)"; second=$$?; \
	$(STACK) test-database-down; exit $$((first + second))

down: setup
	@$(STACK) down

# With DATABASE_URL set to the owner's connection.
migrate:
	@cargo run --quiet --package migrations --bin migrate

# make replay PROVIDER=lessonspace [EVENT=…], with DATABASE_URL set.
replay:
	@cargo run --quiet --package operate --bin replay -- $(PROVIDER) $(EVENT)
