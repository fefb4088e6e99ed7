"""What Bitrix24 documents of its events: their codes, and what the common ones hold."""
