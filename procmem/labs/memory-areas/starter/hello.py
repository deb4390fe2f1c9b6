# TODO 7: greet, then wait for Enter.
print("Hello, world!")
