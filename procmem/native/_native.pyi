from typing import Any

# cffi makes both from the declarations in build.py; their members are C's.
ffi: Any
lib: Any
