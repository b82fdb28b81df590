"""Who does what, when, and whether again: settings, records, disk, stages.

May import `targets` and the rooms below it. Its stages start `cli` verbs as processes.
"""
