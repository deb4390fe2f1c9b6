"""A string that doubles: from which size on does each new one get a mapping of its own?"""

SMALLEST = 16 * 1024
LARGEST = 16 * 1024 * 1024


def ask(what):
    """Prints what comes next, and waits for Enter."""
    input(f"Press Enter to {what} ... ")


ask(f"make a string of {SMALLEST} characters")
text = "x" * SMALLEST
while len(text) < LARGEST:
    ask(f"double it to {2 * len(text)}")
    text = text + text
ask("end")
