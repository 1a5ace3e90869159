"""Base and head measured in turns on one machine, until it is sure whether head is slower. README: docs/ci.md."""
