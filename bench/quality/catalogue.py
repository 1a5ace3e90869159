"""Metrics of pictures. Imports no torch until one is measured."""
