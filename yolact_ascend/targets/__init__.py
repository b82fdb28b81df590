"""Where a graph runs: one folder a target behind one interface (`target`), side-cars, file names.

May import `models`, `detection` and the floor.
"""
