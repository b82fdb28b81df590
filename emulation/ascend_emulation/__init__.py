"""What the stand-ins of atc, npu-smi and aclruntime share; nothing outside emulation/ imports it."""

__version__ = "0.1.0"
