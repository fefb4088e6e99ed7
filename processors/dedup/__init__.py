"""Handlers with `dedup`: what was handled already is not handled again."""
