"""The R-CNN family: Faster and Mask R-CNN with an FPN, in the dialects of Detectron2 and of Detectron.

Entered through `family` only.
"""
