"""Visits: a folder of classes that a model is taught today, another next month; the gate, the steps, going back."""
