"""What was given up or could not be read, and what one does with it."""
