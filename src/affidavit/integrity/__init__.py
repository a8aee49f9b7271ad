"""The log's mathematics and formats: tree, proofs, signed notes, checkpoints, tiles, leaf batches.

One RFC 6962 tree for each dataset, in the formats of c2sp.org (signed-note, tlog-checkpoint,
tlog-tiles, tlog-proof, tlog-cosignature), so that programs of others verify it. Pure functions of
bytes: no driver, no threads, no files. What reads may be hostile, so every parser accepts exactly
one spelling, has limits, and says which line is wrong.
"""
