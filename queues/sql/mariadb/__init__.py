"""MariaDB under the SQL queue."""
