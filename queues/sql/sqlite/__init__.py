"""SQLite under the SQL queue."""
