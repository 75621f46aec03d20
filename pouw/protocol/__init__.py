"""The protocol itself: frozen types, canonical bytes, DIDs, tokens, reasons. No IO, no clock, no Flask."""
