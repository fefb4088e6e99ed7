"""Handlers that compute: each call runs in a process of its own, which may die without taking anything along."""
