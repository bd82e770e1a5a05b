//! Whole-system tests, simulation and benchmarks
#![forbid(unsafe_code)]
