"""History: what follows a live process through time."""

from __future__ import annotations

from procmem.history.recorder import Recorder, record, watch
from procmem.history.recording import Growth, Peak, Recording, Suspect

__all__ = ["Growth", "Peak", "Recorder", "Recording", "Suspect", "record", "watch"]
