"""Where records come from without the application writing them by hand.

Lives here: one module per framework or SDK, each with pure parsing and a thin wrapper
(:mod:`.asgi`: who is calling, for web applications). They do not know each other.
"""
