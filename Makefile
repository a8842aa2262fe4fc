# The commands of this repository; `make` alone lists them.
.PHONY: help setup build run demo test check story bench month down migrate unadopt changes accept reject refunds retry-refund settle-refund adjust replay

PYTHON := target/venv/bin/python
STACK := $(PYTHON) infra/local/stack.py
FUNCTIONS := $(foreach folder,$(wildcard functions/*/*),--package $(notdir $(folder)))

help:
	@echo "make run    start everything on this machine, play a lesson, stay up"
	@echo "make demo   the same, and exit; the report is target/demo.json"
	@echo "make test   every check and every test"
	@echo "make check  format, lint and unit tests: what needs no service"
	@echo "make story NAME=joining    the stories of that name; what they need stays up for the next one (make down)"
	@echo "make bench  measure start-up and settlement against their limits"
	@echo "make month  simulate a month of 100,000 lessons and judge it; LESSONS=2000 for three days of it"
	@echo "make down   stop what make run started"
	@echo "make migrate | unadopt | changes | accept | reject | replay"
	@echo "make refunds | retry-refund | settle-refund | adjust   see the comments in this file"

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

check: setup
	@$(PYTHON) infra/local/test.py check

story: setup
	@$(PYTHON) infra/local/test.py story $(or $(NAME),$(error which? make story NAME=joining))

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

# Not part of `make test` or `make bench`: it takes its time. The report is target/month.json.
LESSONS := 100000
month: setup
	@echo "month: building with the release profile (some minutes the first time)"
	@cargo build --release --package bench --bin bench-month
	@url="$$($(STACK) test-database-up)"; \
	target/release/bench-month "$$url" $(LESSONS); status=$$?; \
	$(STACK) test-database-down; exit $$status

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

# Refunds that failed, or wait to be let go: make refunds, then make retry-refund REFUND=… BY=… REASON=…, or, given back
# by hand, make settle-refund REFUND=… BY=… REASON=… [FEE=…]. Amounts in the currency's smallest unit.
refunds:
	@cargo run --quiet --package operate --bin money -- refunds

retry-refund:
	@cargo run --quiet --package operate --bin money -- retry-refund "$(REFUND)" "$(BY)" "$(REASON)"

settle-refund:
	@cargo run --quiet --package operate --bin money -- settle-refund "$(REFUND)" "$(BY)" "$(REASON)" $(FEE)

# An entry that nothing else makes: make adjust FROM=cash/stripe/EUR TO=gateway_fees/stripe/EUR AMOUNT=… BY=… REASON=…
adjust:
	@cargo run --quiet --package operate --bin money -- adjust "$(FROM)" "$(TO)" "$(AMOUNT)" "$(BY)" "$(REASON)"

# make replay PROVIDER=lessonspace [EVENT=…], with DATABASE_URL set.
replay:
	@cargo run --quiet --package operate --bin replay -- $(PROVIDER) $(EVENT)
