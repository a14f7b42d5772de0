"""The report: run folders in, one HTML page with tables and figures out. docs/run-folder.md is what it reads."""
