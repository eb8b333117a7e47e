"""Test suites that every implementation of a Protocol must pass; shipped, so that plug-ins can."""
