"""What is known of portals: tokens, learned from calls and verified by asking Bitrix24, and keys for their secrets."""
