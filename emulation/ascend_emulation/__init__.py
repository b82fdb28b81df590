"""What the stand-ins of atc, npu-smi and aclruntime share; nothing outside emulation/ imports it."""
