"""Parking: the records of a portal in trouble wait in a stream of their own, and everybody else goes on."""
