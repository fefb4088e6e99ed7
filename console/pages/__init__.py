"""The operators' web page: what the commands that look show, for a browser."""
