"""What happens around the steps of a training, one matter per file."""
