"""OFA supernets: open, sample, extract, recalibrate, train; the only room that imports ofa."""
