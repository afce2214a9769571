"""Hypernetworks: class embeddings -> head. The torch modules are imported only for training and study."""
