# Every target does its own set-up (.ci/bootstrap), as often as you like. ARGS goes to the command behind it:
#   make demo ARGS="--help"      make test ARGS="tests/test_spec.py -x"

# The tests start Python some hundred times: where the environment forbids to keep bytecode, each start takes a second.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help demo test live lint bench site wheel clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo:  ## stream the bundled recording through rtsr and write out/demo.wav and out/demo.png
	@.ci/bootstrap demo
	@.venv/bin/rtsr demo $(ARGS)

test:  ## lint, check the types and run the tests
	@.ci/test $(ARGS)

live:  ## of the tests only those of rtsr live on real sound servers
	@.ci/bootstrap test
	@.venv/bin/python -m pytest tests/live $(ARGS)

lint:  ## only ruff and mypy
	@.ci/bootstrap test
	@.ci/lint

bench:  ## measure this machine: latency, how many streams it carries, start-up; pictures in out/bench
	@.ci/bootstrap test
	@.venv/bin/rtsr bench $(ARGS)

site:  ## build the site into build/site; ARGS=test looks at it in a browser, ARGS=serve serves it
	@.ci/site $(ARGS)

wheel:  ## wheels with the C++ engine for every supported Linux, and the sdist, into dist/
	@.ci/wheel $(ARGS)

clean:  ## remove out/, caches and build leftovers (.venv and the training runs in runs/ stay)
	rm -rf out build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -path ./.git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
