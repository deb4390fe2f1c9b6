"""Permissions, devices and VmFlags."""

from __future__ import annotations

import copy
import pickle
from typing import Any

from procmem import (
    Device,
    Perms,
    Region,
    VmFlags,
)
from procmem.regions.perms import VM_FLAG_MEANINGS
from tests.support.texts import cat


def test_perms() -> None:
    perms = cat().perms
    assert isinstance(perms, Perms)
    assert (perms.read, perms.write, perms.execute) == (True, False, True)
    assert (perms.private, perms.shared) == (True, False)
    assert Region(0, 1, "---s").perms.shared
    assert f"{perms}" == str(perms) == "r-xp"
    assert pickle.loads(pickle.dumps(perms)) == perms
    odd = Region(0, 1, "RWXP").perms
    assert not any((odd.read, odd.write, odd.execute, odd.private, odd.shared))


def test_device() -> None:
    dev = cat().dev
    assert isinstance(dev, Device)
    assert (dev.major, dev.minor, str(dev), repr(dev)) == (
        254,
        1,
        "fe:01",
        "Device(major=254, minor=1)",
    )
    assert pickle.loads(pickle.dumps(dev)) == dev
    assert copy.deepcopy(dev) == dev == (254, 1)
    assert str(Device(0, 0x12345)) == "00:12345"


def test_vm_flags_are_a_set_in_the_kernels_order() -> None:
    flags = VmFlags("rd wr zz mr")
    assert list(flags) == ["rd", "wr", "zz", "mr"]
    same: Any = {"rd", "wr", "mr", "zz"}
    assert flags == VmFlags(["zz", "mr", "wr", "rd"])
    assert same == flags
    assert flags == same
    assert hash(flags) == hash(VmFlags("zz mr wr rd"))
    assert flags & {"rd", "xx"} == {"rd"}
    assert flags - {"rd"} == {"wr", "zz", "mr"}
    assert flags >= {"rd"}
    assert flags.unknown == ("zz",)
    assert flags.meanings() == {
        "rd": "readable",
        "wr": "writable",
        "zz": None,
        "mr": "may be made readable",
    }
    assert pickle.loads(pickle.dumps(flags)) == flags
    assert not VmFlags("")


def test_every_flag_of_the_kernels_has_a_meaning() -> None:
    codes = (
        "rd wr ex sh mr mw me ms gd pf gu lo io sr rr dc de lf ac nr ht sf ar wf dd bt sd mm hg"
        " nh mg um uw mt ui ss dp sl ?? dw mp nl ur"
    )
    assert set(codes.split()) <= set(VM_FLAG_MEANINGS)
