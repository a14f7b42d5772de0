"""Confusion and calibration."""
