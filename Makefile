# SPDX-License-Identifier: Apache-2.0
# The menu. `make` alone prints it.
.DEFAULT_GOAL := help
.PHONY: $(shell awk -F: '/^[a-z-]+:/ {print $$1}' $(firstword $(MAKEFILE_LIST)))

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## set-up, build, then a real server asked, its answers checked
	scripts/demo

test: ## set-up, build, and every test that needs no GPU
	scripts/test

build: ## set-up and release build only
	scripts/setup build
	scripts/build release

serve: ## run the server in the foreground: make serve MODEL=models/demo
	scripts/setup build
	scripts/build release paligemma-server
	build/release/bin/paligemma-server --model=$(or $(MODEL),models/demo)

bench: ## the benchmarks, results in bench-out/ (BENCH=name for one)
	scripts/setup build
	scripts/bench $(BENCH)

fidelity: ## the parity suite against the reference implementations (16 minutes, 11 GB of memory)
	scripts/setup test
	scripts/fidelity

verify-model: ## export, serve and check a checkpoint of yours: make verify-model CHECKPOINT=dir (VERIFY_FLAGS='--pictures=dir')
	@[ -n "$(CHECKPOINT)" ] || { echo "verify-model: name the checkpoint: make verify-model CHECKPOINT=dir" >&2; exit 2; }
	scripts/verify-model "$(CHECKPOINT)" $(VERIFY_FLAGS)

sanitize: ## AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer builds and their tests
	scripts/setup test
	scripts/sanitize

fuzz: ## every fuzz target for FUZZ_SECONDS (60) each
	scripts/setup test
	scripts/fuzz

lint: ## style, layers, proto: what CI checks
	scripts/setup test
	scripts/lint

docs: ## rewrite the tables of docs/ that come from the source
	scripts/docs

format: ## rewrite the sources in the project's style
	scripts/lint --fix

gpu-kit: ## a relocatable folder for a machine with a GPU, built without one
	scripts/setup test
	scripts/gpu-kit

gpu-check: ## on a machine with an NVIDIA GPU: run the kit's tests and benchmarks
	scripts/gpu-check

train-demo: ## trains the demo model anew, resumable (TRAIN_FLAGS='--device=cuda --workers=8' on a GPU)
	scripts/setup test && . scripts/env.sh && PYTHONPATH=training:export "$$PG_VENV"/bin/python -m paligemma_train all $(TRAIN_FLAGS)

eval-demo: ## the demo model's accuracy over gRPC on fresh scenes (CASES=300 for each row, SEED=0, MODEL=models/demo, AGAINST=bundles to compare, FLAGS of their servers)
	CASES="$(CASES)" SEED="$(SEED)" MODEL="$(MODEL)" AGAINST="$(AGAINST)" FLAGS="$(FLAGS)" scripts/eval-demo

image: ## the container image, on a Debian made by mmdebstrap: no registry is asked
	scripts/image

image-check: ## the image run as the pod is: probed, asked a golden request, stopped under load
	scripts/image-check

deploy-check: ## deploy/ rendered, schema-checked, scored and its alerts tested, with the real tools
	scripts/deploy-check
