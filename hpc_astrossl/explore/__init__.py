"""Explore an embedding: clusters, outliers, nearest neighbours. Library parts, put together and scored."""
