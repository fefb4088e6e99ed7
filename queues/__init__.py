"""The systems between: one contract, one module (or folder) a system."""
