"""The sandbox that programs run in: limits, control groups, jobs, and what a program waits for."""
