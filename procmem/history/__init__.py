"""What happened over time: the memory calls of a program, each with its effect."""
