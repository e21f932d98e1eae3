"""Pictures with texts as Pillow and piexif's layout have them: python3 make.py, with Pillow."""
import struct, zlib
from PIL import Image, PngImagePlugin

ascii, latin, wide = "a man, hat\nSteps: 20, Sampler: Euler, Seed: 1", "café\nSteps: 20", "猫 👓, a cat\nNegative prompt: 犬\nSteps: 20, Sampler: Euler a, Seed: 5"
img = Image.new("RGB", (3, 2), (200, 30, 40))

def png(name, add):
    info = PngImagePlugin.PngInfo()
    add(info)
    img.save(name, pnginfo=info)

png("text.png", lambda i: i.add_text("parameters", ascii))
png("latin1.png", lambda i: i.add_text("parameters", latin))
png("ztxt.png", lambda i: i.add_text("parameters", ascii, zip=True))
png("itxt.png", lambda i: i.add_itxt("parameters", wide, "en", "Parameter"))
png("itxt-zip.png", lambda i: i.add_itxt("parameters", wide, zip=True))
png("other.png", lambda i: (i.add_text("Software", "x"), i.add_text("parameters", ascii), i.add_text("extras", "y")))
png("none.png", lambda i: None)

def exif(text, order="big"):
    e = Image.Exif()
    if order == "little":
        e.endian = "<"
    e.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be" if order == "big" else "utf-16-le")
    return e

for suffix, text in ("", wide), ("-ascii", ascii):
    img.save("exif%s.jpg" % suffix, exif=exif(text))
    img.save("exif%s.webp" % suffix, exif=exif(text))
    img.save("exif%s-little.jpg" % suffix, exif=exif(text, "little"))
e = Image.Exif()
e.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + ascii.encode()
img.save("comment-ascii.jpg", exif=e)
img.save("exif.png", exif=exif(wide).tobytes())
img.save("none.jpg")
img.save("none.webp")
img.save("lossless.webp", lossless=True)
img.convert("RGBA").save("alpha.webp", lossless=True)

# Pictures of other programs, as they mark them.
png("comfyui.png", lambda i: (i.add_text("prompt", '{"3": {"class_type": "KSampler"}}'), i.add_text("workflow", '{"nodes": []}')))
png("invokeai.png", lambda i: i.add_itxt("invokeai_metadata", '{"positive_prompt": "a cat"}'))
png("novelai.png", lambda i: (i.add_text("Software", "NovelAI"), i.add_text("Description", "a cat, masterpiece"), i.add_text("Comment",
    '{"steps": 28, "sampler": "k_euler_ancestral", "seed": 5, "strength": 0.7, "noise": 0.2, "scale": 11.0, "uc": "lowres"}')))
