"""Pretrained encoders, loaded by exact name, with what they want to see and where their projections are."""
