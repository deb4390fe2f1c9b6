from typing import Any

# cffi generates both from the C declarations in build.py; mypy cannot check their members.
ffi: Any
lib: Any
