# Everything a person or a machine does with Dark Tower starts here.
# Each target is one small script in scripts/, so that it can be run alone.

# Compiled code lives outside the checkout: a fresh clone finds the dependencies
# built. Set CARGO_TARGET_DIR to put it elsewhere.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/darktower/target

.DEFAULT_GOAL := help
.PHONY: help up dev test lint fmt fuzz bench audit build journeys screenshot

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

up: ## Build what changed and run Dark Tower (arguments: make up ARGS="--accounts")
	@scripts/up.sh $(ARGS)

dev: ## The web app with hot reload against a running server
	@scripts/dev.sh $(ARGS)

test: ## Lint, and every test: Rust, TypeScript, real processes, real browsers
	@scripts/test.sh

journeys: ## Only the browser journeys (one of them: make journeys ARGS="firefox")
	@scripts/journeys.sh $(ARGS)

lint: ## Formatting, clippy, eslint, type checks, shellcheck if installed
	@scripts/lint.sh

fmt: ## Format all code
	@scripts/fmt.sh

fuzz: ## Fuzz every parser for 60 s (FUZZ_SECONDS; one of them: make fuzz ARGS="tokens")
	@scripts/fuzz.sh $(ARGS)

build: ## Build the web app and the binary (development profile)
	@scripts/build.sh

bench: ## Measure and print the figures (release profile; parts: make bench ARGS="load")
	@scripts/bench.sh $(ARGS)

screenshot: ## Renew docs/screenshot.png from a real meeting
	@scripts/journeys.sh screenshot

audit: ## Licences, sources and known vulnerabilities of the dependencies
	@scripts/audit.sh
