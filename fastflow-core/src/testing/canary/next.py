import os

# What the one before left for it, and what it was never given.
print("was handed", os.environ.get("HANDED"))
print("finds", sorted(name for name in ("STORED", "PEM", "EXTERNAL", "SEALED", "TOKEN") if name in os.environ))
