"""Files and annotations to arrays: COCO, decoding, the transform to the network's input.

May import `models` (the config's values) and the floor.
"""
