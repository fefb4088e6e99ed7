"""What operators tell the workers to do, and how far they are with it."""
