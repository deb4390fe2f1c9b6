"""Demangles names of C++ and Rust functions.

Names come from files that anybody may have written: a short one can stand for gigabytes of text,
or for a recursion without end. Rust's are read here, within a number of steps and of letters.
C++'s are read by the C++ library itself, in a process of its own with limits.

Sources: Itanium C++ ABI, 5.1; Rust RFC 2603 (v0); rustc's legacy mangling.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import lru_cache

__all__ = ["demangle"]

LONGEST = 8192
"""Letters of a mangled name, and of what it stands for, that are read."""

STEPS = 20_000
DEPTH = 200


def demangle(name: str) -> str | None:
    """What a mangled name stands for.

    Args:
        name: of a symbol; a version or "plt" behind "@" stays.

    Returns:
        The name as C++ or Rust code has it; None if it is not mangled, is damaged, is too long, or
        (of C++) this machine has no libstdc++.so.6.

    >>> demangle("_RNvCs1234_7mycrate3foo"), demangle("main")
    ('mycrate::foo', None)
    >>> demangle("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE")
    'core::fmt::Write::write_fmt'
    """
    plain, at, behind = name.partition("@")
    if len(plain) > LONGEST or not plain.isascii():
        return None
    found = None
    if plain.startswith(("_R", "__R")):
        found = rust_v0(plain.lstrip("_")[1:])
    elif plain.startswith(("_ZN", "__ZN")) and LEGACY.search(plain):
        found = rust_legacy(plain.lstrip("_")[2:])
    if found is None and plain.startswith(("_Z", "__Z")):
        found = cplusplus(plain.removeprefix("_") if plain.startswith("__Z") else plain)
    return None if found is None else found + at + behind


# ---- C++ ---------------------------------------------------------------------

HELPER = """
import ctypes, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
library = ctypes.CDLL("libstdc++.so.6")
library.__cxa_demangle.restype = ctypes.c_char_p
status = ctypes.c_int()
found = library.__cxa_demangle(sys.stdin.buffer.read(), None, None, ctypes.byref(status))
if status.value == 0 and found is not None:
    sys.stdout.buffer.write(found[: int(sys.argv[1]) + 1])
"""


@lru_cache(maxsize=1024)
def cplusplus(name: str) -> str | None:
    """A name of the Itanium ABI, read by __cxa_demangle() of libstdc++."""
    if not sys.executable:
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", HELPER, str(LONGEST)],
            input=name.encode("ascii"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    text = done.stdout.decode("utf-8", "replace")
    return text if done.returncode == 0 and 0 < len(text) <= LONGEST else None


# ---- Rust, legacy --------------------------------------------------------------

LEGACY = re.compile(r"17h[0-9a-f]{16}E(\.[\w.$]+)?$")

ESCAPES = {
    "SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ",",
}  # fmt: skip


def rust_legacy(text: str) -> str | None:
    """A path of rustc's older mangling, behind "_ZN"; its hash is left out."""
    parts = []
    at = 0
    while found := re.compile(r"[1-9][0-9]{0,4}").match(text, at):
        at = found.end() + int(found[0])
        if at >= len(text):
            return None
        parts.append(text[found.end() : at])
    if text[at : at + 1] != "E" or len(parts) < 2 or not re.fullmatch("h[0-9a-f]{16}", parts[-1]):
        return None
    return "::".join(map(legacy_part, parts[:-1]))


def legacy_part(part: str) -> str:
    def escaped(found: re.Match[str]) -> str:
        word = found[1]
        if word in ESCAPES:
            return ESCAPES[word]
        if re.fullmatch("u[0-9a-f]{1,6}", word) and (code := int(word[1:], 16)) < 0x110000:
            return chr(code)
        return found[0]

    if part.startswith("_$"):
        part = part[1:]
    return re.sub(r"\$(\w{1,7})\$", escaped, part).replace("..", "::")


# ---- Rust, v0 ------------------------------------------------------------------

BASIC = {
    "a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8",
    "i": "isize", "j": "usize", "l": "i32", "m": "u32", "n": "i128", "o": "u128", "s": "i16",
    "t": "u16", "u": "()", "v": "...", "x": "i64", "y": "u64", "z": "!", "p": "_",
}  # fmt: skip


class Bad(Exception):
    """The name is not of this mangling, or is too long to show."""


def rust_v0(text: str) -> str | None:
    """A name of RFC 2603, behind "_R"."""
    # What a linker or LLVM has put behind it is no part of it.
    text = text.partition(".")[0]
    if text[:1].isdigit():
        return None  # of a later version
    try:
        reader = V0(text)
        reader.path(in_value=True)
        if reader.at < len(text):
            # The crate that an instance was made in.
            reader.silent += 1
            reader.path(in_value=False)
        if reader.at < len(text):
            return None
    except (Bad, ValueError, IndexError, OverflowError, UnicodeError):
        return None
    return "".join(reader.out)


class V0:
    """Reads a v0 name and writes what it stands for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.out: list[str] = []
        self.written = self.steps = self.depth = self.silent = self.bound = 0

    def write(self, text: str) -> None:
        if self.silent:
            return
        self.written += len(text)
        if self.written > LONGEST:
            raise Bad
        self.out.append(text)

    def next(self) -> str:
        letter = self.text[self.at]
        self.at += 1
        self.steps += 1
        if self.steps > STEPS:
            raise Bad
        return letter

    def takes(self, letter: str) -> bool:
        if self.text[self.at : self.at + 1] != letter:
            return False
        self.next()
        return True

    def enter(self) -> None:
        self.depth += 1
        if self.depth > DEPTH:
            raise Bad

    def base62(self) -> int:
        """A number that ends in "_"."""
        if self.takes("_"):
            return 0
        value = 0
        while (letter := self.next()) != "_":
            if not letter.isalnum():
                raise Bad
            digit = int(letter, 36) if not letter.isupper() else ord(letter) - ord("A") + 36
            value = value * 62 + digit
            if value >> 64:
                raise Bad
        return value + 1

    def optional(self, tag: str) -> int:
        return self.base62() + 1 if self.takes(tag) else 0

    def identifier(self) -> str:
        """A name with its bytes counted, in Punycode where it is not ASCII."""
        coded = self.takes("u")
        found = re.compile("0|[1-9][0-9]{0,5}").match(self.text, self.at)
        if not found:
            raise Bad
        self.at = found.end()
        self.takes("_")
        name = self.text[self.at : self.at + int(found[0])]
        if len(name) != int(found[0]):
            raise Bad
        self.at += len(name)
        if not coded:
            return name
        plain, line, rest = name.rpartition("_")
        return f"{plain}{'-' if line else ''}{rest}".encode("ascii").decode("punycode")

    def again(self, read: str, *arguments: bool) -> None:
        """A back reference: repeats an earlier part of the name."""
        start = self.at - 1
        target = self.base62()
        if target >= start:
            raise Bad
        if self.silent:
            return
        kept, self.at = self.at, target
        getattr(self, read)(*arguments)
        self.at = kept

    def path(self, in_value: bool) -> None:
        self.enter()
        tag = self.next()
        if tag == "C":
            self.optional("s")
            self.write(self.identifier())
        elif tag == "N":
            self.nested(in_value)
        elif tag in "MX":
            self.optional("s")
            self.silent += 1
            self.path(False)
            self.silent -= 1
            self.qualified(tag == "X")
        elif tag == "Y":
            self.qualified(True)
        elif tag == "I":
            self.path(in_value)
            self.write("::<" if in_value else "<")
            self.listed("argument")
            self.write(">")
        elif tag == "B":
            self.again("path", in_value)
        else:
            raise Bad
        self.depth -= 1

    def nested(self, in_value: bool) -> None:
        space = self.next()
        if not (space.isascii() and space.isalpha()):
            raise Bad
        self.path(in_value)
        number = self.optional("s")
        name = self.identifier()
        if space.isupper():
            word = {"C": "closure", "S": "shim"}.get(space, space)
            self.write("::{" + word + (f":{name}" if name else "") + f"#{number}}}")
        elif name:
            self.write(f"::{name}")

    def qualified(self, has_trait: bool) -> None:
        self.write("<")
        self.type()
        if has_trait:
            self.write(" as ")
            self.path(False)
        self.write(">")

    def listed(self, read: str, between: str = ", ") -> int:
        number = 0
        while not self.takes("E"):
            if number:
                self.write(between)
            getattr(self, read)()
            number += 1
        return number

    def argument(self) -> None:
        if self.takes("L"):
            self.lifetime(self.base62())
        elif self.takes("K"):
            self.constant()
        else:
            self.type()

    def lifetime(self, number: int) -> None:
        if number == 0:
            self.write("'_")
            return
        depth = self.bound - number
        if depth < 0:
            raise Bad
        self.write(f"'{chr(ord('a') + depth)}" if depth < 26 else f"'_{depth}")

    def binder(self) -> int:
        number = self.optional("G")
        if number > DEPTH:
            raise Bad
        if number:
            self.write("for<")
            for at in range(number):
                self.bound += 1
                self.write(", " if at else "")
                self.lifetime(1)
            self.write("> ")
        return number

    def type(self) -> None:
        self.enter()
        tag = self.next()
        if tag in BASIC:
            self.write(BASIC[tag])
        elif tag in "RQ":
            self.write("&")
            if self.takes("L") and (number := self.base62()):
                self.lifetime(number)
                self.write(" ")
            self.write("mut " if tag == "Q" else "")
            self.type()
        elif tag in "PO":
            self.write("*const " if tag == "P" else "*mut ")
            self.type()
        elif tag in "AS":
            self.write("[")
            self.type()
            if tag == "A":
                self.write("; ")
                self.constant()
            self.write("]")
        elif tag == "T":
            self.write("(")
            self.write("," if self.listed("type") == 1 else "")
            self.write(")")
        elif tag == "F":
            self.function()
        elif tag == "D":
            self.dynamic()
        elif tag == "B":
            self.again("type")
        else:
            self.at -= 1
            self.path(False)
        self.depth -= 1

    def function(self) -> None:
        bound = self.binder()
        self.write("unsafe " if self.takes("U") else "")
        if self.takes("K"):
            abi = "C" if self.takes("C") else self.identifier().replace("_", "-")
            self.write(f'extern "{abi}" ')
        self.write("fn(")
        self.listed("type")
        self.write(")")
        if not self.takes("u"):
            self.write(" -> ")
            self.type()
        self.bound -= bound

    def dynamic(self) -> None:
        self.write("dyn ")
        bound = self.binder()
        self.listed("dynamic_trait", " + ")
        self.bound -= bound
        if not self.takes("L"):
            raise Bad
        if number := self.base62():
            self.write(" + ")
            self.lifetime(number)

    def dynamic_trait(self) -> None:
        opened = self.open_path()
        while self.takes("p"):
            self.write(", " if opened else "<")
            opened = True
            self.write(f"{self.identifier()} = ")
            self.type()
        self.write(">" if opened else "")

    def open_path(self) -> bool:
        """A path whose generic arguments, if it has any, are not closed yet."""
        self.enter()
        opened = False
        if self.takes("B"):
            start = self.at - 1
            target = self.base62()
            if target >= start:
                raise Bad
            if not self.silent:
                kept, self.at = self.at, target
                opened = self.open_path()
                self.at = kept
        elif self.takes("I"):
            self.path(False)
            self.write("<")
            self.listed("argument")
            opened = True
        else:
            self.path(False)
        self.depth -= 1
        return opened

    def constant(self) -> None:
        if self.takes("B"):
            self.again("constant")
            return
        tag = self.next()
        if tag == "p":
            self.write("_")
            return
        minus = "-" if tag in "axslin" and self.takes("n") else ""
        digits = ""
        while (letter := self.next()) != "_":
            if letter not in "0123456789abcdef":
                raise Bad
            digits += letter
        if tag in "axslinhtmjyo":
            self.write(minus + str(int(digits or "0", 16)))
        elif tag == "b":
            self.write({"0": "false", "1": "true"}[digits or "0"])
        elif tag == "c":
            self.write(repr(chr(int(digits or "0", 16))))
        else:
            raise Bad
