"""Hostile inputs for every parser of foreign bytes."""
