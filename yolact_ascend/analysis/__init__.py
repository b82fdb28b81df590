"""What a graph or a host would do: cuts, rehearse, compare, doctor.

May import the rooms below it, not `cli` or `report`.
"""
