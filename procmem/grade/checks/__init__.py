"""Checks: points, the facts they compare with, fixtures, and what is said when one fails."""
