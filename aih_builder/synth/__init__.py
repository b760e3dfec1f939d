"""From sources to a Sample: renderers, the compositor, the engines."""
