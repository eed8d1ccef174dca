"""Answers about a home, from its tables alone: what a run would do, where rows come from, what failed."""
