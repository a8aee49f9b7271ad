"""Who is let in: tokens, sessions, the first administrator's link, log-in elsewhere, brakes.

Lives here: what a request shows of itself, made into a :class:`affidavit.console.visitor.Visitor`
(:mod:`.doorman`), and the headers of each answer (:mod:`.headers`).
Does not live here: what a visitor may do, which is :mod:`affidavit.console.roles`.

Of each secret only a hash is stored. All are of 256 random bits, so a plain SHA-256 is enough:
there is nothing to guess from a dictionary.
"""
