"""Inference engines behind one door: ``open_engine(bundle)``."""
