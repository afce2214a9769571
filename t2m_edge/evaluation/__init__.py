"""Accuracy on unseen classes: features, methods and metrics of the study."""
