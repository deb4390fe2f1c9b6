"""All presentation: text from objects. Nothing here opens, reads or prints."""
