"""Calls as portals make them, and what became of them."""
