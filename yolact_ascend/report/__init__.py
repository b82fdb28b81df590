"""What a run says of itself: report.json (a contract), report.md, pictures, time per image.

May import the rooms below it. Only `cli` imports this one.
"""
