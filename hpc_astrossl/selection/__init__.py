"""Which objects: catalogue, filters, crossmatch, labels and splits. Everything is final before a pixel is read."""
