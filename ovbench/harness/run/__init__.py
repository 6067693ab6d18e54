"""The loop that measures: read, ask, count, record."""
