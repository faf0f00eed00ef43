"""Hostile messages for every reader of foreign bytes, checked against a second, naive reading."""
