"""Renderers: a request in, one layer per hand out."""
