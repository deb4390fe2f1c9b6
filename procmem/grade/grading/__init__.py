"""Grading one submission or many, in server processes of their own."""
