"""What `forebay doctor` looks at."""
