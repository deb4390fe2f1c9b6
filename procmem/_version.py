"""The version, apart from the face: what the face imports may need it."""

__version__ = "0.1.0"
