"""Presentation: turns objects into text. Nothing here opens, reads or prints."""
