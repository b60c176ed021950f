"""The metrics of the benchmarks, one module each; `registry` has them all."""
