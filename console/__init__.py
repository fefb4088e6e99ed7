"""Where people sit: the `forebay` command."""
