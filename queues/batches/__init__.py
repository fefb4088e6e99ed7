"""Many calls of `send` become one write: written once for the stores that are asked in threads."""
