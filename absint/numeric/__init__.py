"""Number formats, outward rounding, devices and kernels: the one room that rounds by hand and sets torch flags."""
