"""Tests of the compose stack: containers built from this tree. `make test-stack` runs them, `make test` does not."""
