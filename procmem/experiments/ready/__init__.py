"""The ready experiments: a module each, with one function of the module's name.

They lie apart so that no module hides the function of its name: `procmem.experiments` offers
the functions.
"""
