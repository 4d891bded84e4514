"""Send alerts through Apprise and to a signed webhook, and keep those that could not be sent."""
