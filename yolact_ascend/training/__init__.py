"""Training and fine-tuning: samples, augmentation, matching, losses, the loop.

May import `host` and the rooms below it, except `pipeline` and `scenes`.
"""
