"""The live screen of `procmem top`. Only `app` and `lines` import textual."""
