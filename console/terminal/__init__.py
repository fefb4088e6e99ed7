"""What people read and answer."""
