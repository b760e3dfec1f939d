"""The `aih` command; the only place that prints."""

INTERRUPTED = "aih: interrupted. What is finished is kept; run the same command to go on."
