"""Model files: what a user keeps of a trained model."""

from eqff.checkpoints.metadata import ModelMetadata
from eqff.checkpoints.model_file import MODEL_FILE, find_model_file, load_model, read_metadata, save_model

__all__ = ["MODEL_FILE", "ModelMetadata", "find_model_file", "load_model", "read_metadata", "save_model"]
