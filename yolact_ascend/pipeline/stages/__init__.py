"""The stages, one module each in the order of the pipeline: what it depends on, what it writes, its command.

A new stage is its module, a row in `plan`, and its name in `pipeline.ways`.
"""
