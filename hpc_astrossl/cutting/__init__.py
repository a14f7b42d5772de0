"""Their pixels: cutouts of fields, image files and FITS cutouts, written shard by shard."""
