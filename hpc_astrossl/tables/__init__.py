"""The door to tables of any format: columns of text, FITS and Parquet files, or of the names of a tree of folders."""
