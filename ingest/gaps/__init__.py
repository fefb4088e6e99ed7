"""What was kept nowhere: a portal learns, by an event in its order, from when to when its events may be missing."""
