"""Batches: many rows in, one answer each out, in order and exactly once."""
