"""The PyTorch target: the network itself, in float32, on the CPU or a CUDA GPU.

May import `targets.target` and what that may import. Only `engine` imports PyTorch.
"""
