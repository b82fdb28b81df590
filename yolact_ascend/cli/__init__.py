"""The command line: one file a verb, flags declared once, errors turned into exit codes.

May import every other room. Nothing imports this one.
"""
