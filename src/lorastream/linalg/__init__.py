"""Pure mathematics on tensors; no models, no data."""
