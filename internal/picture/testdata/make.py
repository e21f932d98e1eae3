"""Makes the pictures of this folder and, as NAME.png in want, what Pillow shows of them: python make.py in it, with Pillow 13,
OpenCV 4.10 and NumPy. What Pillow cannot write is made by changing bytes of what it wrote."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

os.makedirs("want", exist_ok=True)
rng = np.random.default_rng(8)


def photo(w, h):
    """Smooth colours, a hard edge between two of them, and some noise."""
    y, x = np.mgrid[0:h, 0:w]
    p = np.stack([x * 255 / max(w - 1, 1), 127 + 120 * np.sin(x * y / 90), y * 255 / max(h - 1, 1)], -1)
    p[(x - w / 2) ** 2 + (y - h / 2) ** 2 < (min(w, h) / 4) ** 2] = [250, 10, 20]
    return Image.fromarray((p + rng.integers(-6, 7, p.shape)).clip(0, 255).astype(np.uint8))


def want(name, data):
    open(name, "wb").write(data)
    im = Image.open(io.BytesIO(data))
    im.load()
    im = im.convert("RGB") if im.mode in ("I;16", "I;16B", "I", "CMYK") else im
    im.convert("RGBA").save(f"want/{name}.png", optimize=True)


def saved(im, kind, **options):
    b = io.BytesIO()
    im.save(b, kind, **options)
    return b.getvalue()


def segment(data, marker):
    at = data.index(marker)
    return at, at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]


im = photo(45, 37)
alpha = im.copy()
alpha.putalpha(Image.fromarray(np.linspace(0, 255, 45 * 37).reshape(37, 45).astype(np.uint8)))
cmyk = Image.merge("CMYK", [*photo(45, 37).split(), photo(45, 37).split()[1]])

# JPEG: subsampling, odd sizes, colour spaces.
for name, options in {"444": dict(subsampling=0), "422": dict(subsampling=1), "420": dict(subsampling=2), "411": dict(subsampling="4:1:1"), "progressive": dict(subsampling=2, progressive=True), "restart": dict(subsampling=2, restart_marker_blocks=2), "rgb": dict(keep_rgb=True), "low": dict(quality=10)}.items():
    want(f"{name}.jpg", saved(im, "JPEG", **{"quality": 90, **options}))
want("440.jpg", cv2.imencode(".jpg", np.array(im)[:, :, ::-1], [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440])[1].tobytes())
for w, h in [(1, 1), (2, 2), (3, 3), (4, 5), (5, 2), (16, 16), (17, 33)]:
    want(f"size{w}x{h}.jpg", saved(photo(w, h), "JPEG", quality=95, subsampling=2))
want("wide3x3.jpg", saved(photo(3, 3), "JPEG", quality=95, subsampling=1))
want("grey.jpg", saved(im.convert("L"), "JPEG"))
inks = saved(cmyk, "JPEG", quality=90, subsampling=0)
want("cmyk.jpg", inks)
a, b = segment(inks, b"\xff\xee")
want("cmyk-unmarked.jpg", inks[:a] + inks[b:])
want("ycck.jpg", inks[: b - 1] + b"\x02" + inks[b:])
ycc = saved(im, "JPEG", quality=90, subsampling=2)
a, b = segment(ycc, b"\xff\xe0")
adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
want("adobe-rgb-420.jpg", ycc[:a] + adobe + b"\x00" + ycc[b:])
want("adobe-ycc.jpg", ycc[:a] + adobe + b"\x01" + ycc[b:])
want("jfif-adobe-rgb.jpg", ycc[:b] + adobe + b"\x00" + ycc[b:])
rgb = saved(im, "JPEG", quality=90, keep_rgb=True)
want("rgb-adobe-ycc.jpg", rgb[:2] + adobe + b"\x01" + rgb[2:])
want("unmarked.jpg", ycc[:a] + ycc[b:])

# WebP: limited range, alpha of both kinds, animations, flags that do not hold.
for name, picture, options in [
    ("lossy", im, dict(quality=90)),
    ("odd", photo(33, 18), dict(quality=80)),
    ("tiny", photo(1, 1), dict(quality=90)),
    ("thin", photo(2, 9), dict(quality=90)),
    ("alpha", alpha, dict(quality=80)),
    ("alpha-low", alpha, dict(quality=80, alpha_quality=20)),
    ("lossless", im, dict(lossless=True)),
    ("lossless-alpha", alpha, dict(lossless=True, exact=True)),
    ("palette", im.quantize(8).convert("RGB"), dict(lossless=True)),
]:
    want(f"{name}.webp", saved(picture, "WEBP", **options))
for level in [0, 16, 128, 235, 255]:
    want(f"level{level}.webp", saved(Image.new("RGB", (8, 8), (level,) * 3), "WEBP", quality=80))
want("moving.webp", saved(im, "WEBP", save_all=True, append_images=[photo(45, 37)], quality=80))
want("moving-alpha.webp", saved(alpha, "WEBP", save_all=True, append_images=[alpha.rotate(180)], lossless=True))
exif = saved(im, "WEBP", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00")
want("flag-alpha.webp", exif[:20] + bytes([exif[20] | 0x10]) + exif[21:])
want("flag-icc.webp", exif[:20] + bytes([exif[20] | 0x20]) + exif[21:])
want("trailing.webp", exif + b"garbage")

# PNG: depths, palettes, transparency, gamma, interlacing.
want("rgb.png", saved(im, "PNG"))
want("rgba.png", saved(alpha, "PNG"))
want("palette.png", saved(im.quantize(16), "PNG"))
want("palette-clear.png", saved(im.quantize(16), "PNG", transparency=3))
want("palette-alpha.png", saved(im.quantize(4), "PNG", transparency=bytes([0, 80, 160, 255])))
want("grey.png", saved(im.convert("L"), "PNG"))
want("grey-clear.png", saved(im.convert("L"), "PNG", transparency=100))
want("grey-alpha.png", saved(alpha.convert("LA"), "PNG"))
want("bits.png", saved(im.convert("1"), "PNG"))
deep = np.array(im).astype(np.uint16) * 256 + rng.integers(0, 256, (37, 45, 3)).astype(np.uint16)
want("rgb16.png", cv2.imencode(".png", deep)[1].tobytes())
want("rgba16.png", cv2.imencode(".png", np.dstack([deep, deep[:, :, :1]]))[1].tobytes())
# Pillow clips sixteen bits of grey to white, so what is wanted of them is said in the test.
open("grey16.png", "wb").write(cv2.imencode(".png", deep[:, :, 0])[1].tobytes())


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


plain = saved(im, "PNG")
want("gamma.png", plain[:33] + chunk(b"gAMA", struct.pack(">I", 100000)) + plain[33:])


def interlaced(im):
    a = np.array(im)
    h, w = a.shape[:2]
    raw = b""
    for x, y, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        for row in a[y::dy, x::dx]:
            raw += b"\x00" + row.tobytes() if row.size else b""
    head = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


want("interlaced.png", interlaced(im))
want("moving.png", saved(im, "PNG", save_all=True, append_images=[photo(45, 37)]))

# TIFF: kinds of pixels, compressions, byte orders.
for name, picture, options in [
    ("rgb", im, {}),
    ("rgba", alpha, {}),
    ("lzw", im, dict(compression="tiff_lzw")),
    ("deflate", im, dict(compression="tiff_adobe_deflate")),
    ("packbits", im, dict(compression="packbits")),
    ("grey", im.convert("L"), {}),
    ("palette", im.quantize(16), {}),
    ("bits", im.convert("1"), {}),
    ("fax", im.convert("1"), dict(compression="group4")),
    ("strips", im, dict(compression="tiff_lzw", tiffinfo={278: 5})),
]:
    want(f"{name}.tif", saved(picture, "TIFF", **options))
want("rgb16.tif", cv2.imencode(".tif", deep, [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes())
Image.fromarray(deep[:, :, 0]).save("grey16.tif")

# BMP: depths, row orders, headers of OS/2, gaps.
want("rgb.bmp", saved(im, "BMP"))
want("rgba.bmp", saved(alpha, "BMP"))
want("grey.bmp", saved(im.convert("L"), "BMP"))
want("palette.bmp", saved(im.quantize(16), "BMP"))
want("bits.bmp", saved(im.convert("1"), "BMP"))
b = saved(im, "BMP")
want("gap.bmp", b[:10] + struct.pack("<I", 54 + 10) + b[14:54] + b"x" * 10 + b[54:])
want("os2.bmp", b[:10] + struct.pack("<IIHHHH", 26, 12, 45, 37, 1, 24) + b[54:])
pixels = np.array(im)
want("topdown.bmp", b[:22] + struct.pack("<i", -37) + b[26:54] + b"".join(r[:, ::-1].tobytes() + b"\0" for r in pixels))
bgrx = b"".join(np.dstack([r[None, :, ::-1], np.zeros((1, 45), np.uint8)]).tobytes() for r in pixels[::-1])
want("bgrx.bmp", b[:28] + struct.pack("<HI", 32, 0) + b[34:54] + bgrx)
want("masks.bmp", b[:10] + struct.pack("<I", 66) + b[14:28] + struct.pack("<HI", 32, 3) + b[34:54] + struct.pack("<III", 0xFF0000, 0xFF00, 0xFF) + bgrx)

# GIF: whole, animated.
want("still.gif", saved(im, "GIF"))
want("moving.gif", saved(im, "GIF", save_all=True, append_images=[photo(45, 37)]))
want("clear.gif", saved(im.quantize(16), "GIF", transparency=2))

# Scaling of resample/source.png, 96x60 pixels of gradients, waves and noise. Pillow 13 turns the order of passes where one side
# grows and the other shrinks, which the cover rule of buckets never asks for, so lanczos and box are by Pillow 11.3.
source = cv2.imread("resample/source.png")
opencv = {"nearest": cv2.INTER_NEAREST_EXACT, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
for size in [(48, 30), (37, 41), (131, 77), (150, 20)]:
    for name, filter in opencv.items():
        cv2.imwrite(f"resample/{name}_{size[0]}x{size[1]}.png", cv2.resize(source, size, interpolation=filter))

# An EXIF orientation in each format that carries one; the picture is red at the left and blue at the right.
half = np.zeros((16, 24, 3), np.uint8)
half[:, :12, 0] = half[:, 12:, 2] = 255
exif = Image.Exif()
exif[0x112] = 6
for extension in ["jpg", "png", "webp"]:
    Image.fromarray(half).save(f"turned.{extension}", exif=exif, quality=95)
Image.fromarray(half).save("turned.tiff", tiffinfo={0x112: 6})
Image.fromarray(half).save("plain.bmp")


# Files that are small for what they take to decode, 600x600 pixels of nothing: bomb/.
os.makedirs("bomb", exist_ok=True)
n = 600


def bomb(name, data):
    open("bomb/" + name, "wb").write(data)


def png(depth, kind, samples, interlace):
    rows = [(n, n)]
    if interlace:
        rows = [(len(range(x, n, dx)), len(range(y, n, dy))) for x, y, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]]
    raw = b"".join(bytes(h * (1 + (w * depth * samples + 7) // 8)) for w, h in rows)
    head = struct.pack(">IIBBBBB", n, n, depth, kind, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


bomb("deep.png", png(16, 6, 4, 0))
bomb("deep-interlaced.png", png(16, 6, 4, 1))
bomb("bits.png", png(1, 0, 1, 0))
bomb("rgb.png", png(8, 2, 3, 0))
black = Image.new("RGB", (n, n))
for name, picture, options in [
    ("baseline", black, dict(subsampling=0)),
    ("halved", black, dict(subsampling=2)),
    ("progressive", black, dict(subsampling=0, progressive=True)),
    ("grey", black.convert("L"), dict(progressive=True)),
    ("inks", black.convert("CMYK"), dict(subsampling=0, progressive=True)),
]:
    bomb(f"{name}.jpg", saved(picture, "JPEG", quality=50, **options))
clear = Image.new("RGBA", (n, n))
for name, picture, options in [("lossy", black, {}), ("alpha", clear, {}), ("lossless", clear, dict(lossless=True))]:
    bomb(f"{name}.webp", saved(picture, "WEBP", **options))
bomb("strip.tif", saved(black, "TIFF", compression="tiff_adobe_deflate", tiffinfo={278: n}))
bomb("plain.tif", saved(Image.new("L", (n, n)), "TIFF", compression="tiff_lzw"))
bomb("deep.tif", cv2.imencode(".tif", np.zeros((n, n, 3), np.uint16), [cv2.IMWRITE_TIFF_COMPRESSION, 5, cv2.IMWRITE_TIFF_ROWSPERSTRIP, n])[1].tobytes())
bomb("still.gif", saved(black, "GIF"))
