"""History: what follows a live process through time: its calls, and its memory."""
