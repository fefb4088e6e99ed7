"""The queue in an SQL database, on SQLAlchemy Core. SQLite is the embedded default."""
