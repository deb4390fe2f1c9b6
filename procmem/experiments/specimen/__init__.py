"""Specimens: quiet processes that carry out real calls, each step measured and predicted."""
