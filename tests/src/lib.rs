//! Whole-system tests, simulation and benchmarks
