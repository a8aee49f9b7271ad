"""Telling people: a message in words, and the ways it can go.

Each way is a :class:`.base.Target`; :mod:`.configured` makes those of the settings. A target tries
once and says whether it worked; when it is tried again is :mod:`affidavit.monitor.outbox`'s matter.
"""
