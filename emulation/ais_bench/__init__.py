"""Stand-in of Ascend's ais_bench inference tool: array mode with fixed shapes, on any aclruntime."""
