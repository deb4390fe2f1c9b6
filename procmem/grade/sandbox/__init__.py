"""The sandbox that programs run in: limits, control groups, namespaces, waiting for ends."""
