"""Telling somebody outside the database how large the log is, so that its tail cannot be cut off.

Lives here: the kinds of anchors, a folder (:mod:`.directory`), a witness (:mod:`.witness`) and a
timestamp authority (:mod:`.authority`), over bounded HTTP (:mod:`.web`); choosing them by settings
(:mod:`.configured`); anchoring the newest checkpoint and keeping receipts (:mod:`.run`), on a
schedule (:mod:`.schedule`); and how they are getting on (:mod:`.health`).
Does not live here: formats and checks of what anchors answer (``integrity``), making checkpoints
(``sealer``), and the making of proofs (``evidence``).
"""
