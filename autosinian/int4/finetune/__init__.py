"""From a trained ResNet to a network of integers: batch norm folded, ranges calibrated, fake
quantization trained with straight-through gradients. May import int4's network, writer and
reference, `data`, `errors`, `content`, `quantize`'s histograms and the images and augmentation of
`supernet.training`; torch, and nothing that a GPU machine with torch alone would lack."""
