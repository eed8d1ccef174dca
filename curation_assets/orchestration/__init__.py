"""Dagster's side: assets of stages, their checks and lineage, what runs them, where its records lie."""
