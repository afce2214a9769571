"""Latency, memory and size of artifacts and of the commands that make them."""
