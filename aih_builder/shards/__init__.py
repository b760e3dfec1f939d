"""Shards: format, writer, reader, plan, build, validation."""
