"""The ready experiments: a module each, with one function of the module's name.

They have a package of their own so that no module hides the function of its name in
`procmem.experiments`.
"""
