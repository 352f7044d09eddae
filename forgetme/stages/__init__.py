"""One stage a file: segment, rank, verify, inpaint, diffusion, and the presets that choose them."""
