"""What the pytest plugin measures: marks that limit a test's memory, and the fixture `memory`."""
