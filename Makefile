# `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help demo test bench clean

help: ## This list
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{ printf "  make %-6s %s\n", $$1, $$2 }'

demo: ## Build, and run every pipeline of examples/pipelines; exits 0 only if each ends as it should; EXECUTOR=docker or podman uses containers, IMAGE=<name> another image
	@EXECUTOR="$(EXECUTOR)" IMAGE="$(IMAGE)" tools/demo

test: ## All checks and tests; FASTFLOW_REQUIRE=a,b makes a missing suite a failure
	@tools/test

bench: ## The benchmarks, each against a floor measured in the same run
	@tools/check-machine
	cargo bench --package fastflow-benches --locked
	cargo run --release --locked --package fastflow-benches --bin load -- all --uv "$$(tools/setup-uv)"
	cargo run --release --locked --package fastflow-benches --features sources --bin sync-load -- all --uv "$$(tools/setup-uv)"
	cargo build --release --locked --package fastflow-benches --bin crossing
	"$$(tools/setup-python)" benches/python/crossing.py "$${CARGO_TARGET_DIR:-target}/release/crossing"

clean: ## Remove what was built and what the demo left; the tools in .tools stay
	@chmod -R u+w target/demo target/embed 2>/dev/null || true
	cargo clean
