"""The drawn data set: scenes of shapes with exact masks, in COCO's format.

May import `models`, `detection` and the floor.
"""
