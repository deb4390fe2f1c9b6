"""The native parts; all else is in pyproject.toml."""

from setuptools import Extension, setup

setup(
    cffi_modules=["procmem/native/build.py:ffi"],
    ext_modules=[
        Extension(
            "procmem.native._records",
            ["procmem/native/records.c"],
            include_dirs=["procmem/native"],
            depends=["procmem/native/scanner.h"],
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
            extra_compile_args=["-O2", "-Wall", "-Wextra"],
            py_limited_api=True,
        ),
        Extension(
            "procmem.native._memory",
            ["procmem/native/memory.c"],
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
            extra_compile_args=["-O2", "-Wall", "-Wextra"],
            py_limited_api=True,
        ),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
