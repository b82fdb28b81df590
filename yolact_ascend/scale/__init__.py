"""Very many images on several hosts: a plan, shards of it that any worker does alone, and the merge of their parts.

Nothing here passes pixels between processes of different hosts: a worker reads the images of its shard by itself.
"""
