"""A string that doubles: from which size on does each new one get a mapping of its own?"""

SMALLEST = 16 * 1024
LARGEST = 16 * 1024 * 1024


def ask(what):
    """Prints what comes next, and waits for Enter."""
    input(f"Press Enter to {what} ... ")


ask(f"make a string of {SMALLEST} characters")
# TODO: make a string of SMALLEST characters (ASCII, so that each takes one byte).

# TODO: double it until it has LARGEST characters. Ask before each step.
#       Keep only the newest string.

ask("end")
