"""Makes the pictures and archives of this folder: python make.py in it, with Pillow 11.3, OpenCV and NumPy. Pillow 13 turns the
order of passes where one side grows and the other shrinks, which the cover rule of the buckets never asks for."""

import cv2
import numpy as np
from PIL import Image

rng = np.random.default_rng(5)
w, h = 96, 60
y, x = np.mgrid[0:h, 0:w]
source = np.stack([x * 255 / w, 127 + 120 * np.sin(x * y / 90), rng.integers(0, 256, (h, w))], -1).astype(np.uint8)
Image.fromarray(source).save("source.png")

PILLOW = {"lanczos": Image.LANCZOS, "box": Image.BOX}
OPENCV = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
for size in [(48, 30), (37, 41), (131, 77), (150, 20)]:
    for name, filter in PILLOW.items():
        Image.fromarray(source).resize(size, filter).save(f"{name}_{size[0]}x{size[1]}.png")
    for name, filter in OPENCV.items():
        Image.fromarray(cv2.resize(source, size, interpolation=filter)).save(f"{name}_{size[0]}x{size[1]}.png")

# An EXIF orientation in each format that carries one; the picture is red at the left and blue at the right.
half = np.zeros((16, 24, 3), np.uint8)
half[:, :12, 0] = half[:, 12:, 2] = 255
exif = Image.Exif()
exif[0x112] = 6
for extension in ["jpg", "png", "webp"]:
    Image.fromarray(half).save(f"turned.{extension}", exif=exif, quality=95)
Image.fromarray(half).save("turned.tiff", tiffinfo={0x112: 6})
Image.fromarray(half).save("plain.bmp")

# Latents for a picture of 24x16 pixels in a bucket of 128x64, in the older and the newer form.
latents = (np.arange(4 * 8 * 16, dtype=np.float32) / 8).reshape(4, 8, 16)
old = dict(latents=latents, original_size=np.array([24, 16]), crop_ltrb=np.array([0, 0, 128, 64]))
np.savez("older.npz", **old)
np.savez_compressed("compressed.npz", **old)
np.savez("newer.npz", **{k + "_8x16": v for k, v in old.items()}, latents_flipped_8x16=-latents)
np.savez("pickle.npz", latents=np.array([None], dtype=object), original_size=np.array([24, 16]))
