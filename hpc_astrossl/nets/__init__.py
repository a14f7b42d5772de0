"""Networks: VGG16's convolutions and the paper's top, their seeded beginning, dropout masks and weights files."""
