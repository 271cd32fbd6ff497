"""What is not collected here: builders that import extras which may be absent."""

collect_ignore = ["hf.py", "timm_models.py"]
