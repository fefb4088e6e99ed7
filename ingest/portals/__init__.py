"""`auth = "registry"`: tokens that are learned from calls, and verified by asking Bitrix24."""
