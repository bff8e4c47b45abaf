"""How often the queue of the bucket's events must deliver a message before it may give it up."""

DELIVERIES = 10
"""Least `maxReceiveCount` of the queue's redrive policy: a message comes back until its run exists, so twice at least,
and again for each look while an earlier version of its file is being run."""
