"""Traces of an event's way through the queue. Only otel.py knows OpenTelemetry; it is imported where traces are on."""
