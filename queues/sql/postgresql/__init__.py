"""PostgreSQL under the SQL queue."""
