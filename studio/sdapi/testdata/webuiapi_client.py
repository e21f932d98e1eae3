"""Runs all of webuiapi, a Python client of the web UI's API, against a server whose port is the argument. It ends with 1, and says what,
if anything is otherwise than the client's users expect."""

import inspect
import json
import sys

import webuiapi
from PIL import Image

SIZE = dict(width=64, height=64, steps=2)

# What needs an extension of the web UI, or was taken out of it, and so is nowhere to be found.
ABSENT = {
    "controlnet_version", "controlnet_model_list", "controlnet_module_list", "controlnet_detect", "list_prompt_gen_models", "prompt_gen",
    "get_artists", "get_artist_categories",
}
# What only serves other methods, or needs aiohttp.
INNER = {"check_extensions", "post_and_get_api_result", "async_post", "get_endpoint", "set_auth"}

api = webuiapi.WebUIApi(host="127.0.0.1", port=int(sys.argv[1]), sampler="Euler a", steps=2)
called = set()


def call(name, *args, **kwargs):
    called.add(name)
    result = getattr(api, name)(*args, **kwargs)
    print("ok", name)
    return result


def fails(status, name, *args, **kwargs):
    called.add(name)
    try:
        getattr(api, name)(*args, **kwargs)
    except RuntimeError as e:
        got, text = e.args
        assert got == status, (name, got, text)
        json.loads(text)
        print("ok", name, "is refused with", status)
        return text
    raise AssertionError(f"{name} is not refused")


def pictures(result, count, size=(64, 64)):
    assert [one.size for one in result.images] == [size] * count, [one.size for one in result.images]
    return result


# Lists.
samplers = call("get_samplers")
assert {"Euler a", "DPM++ 2M", "UniPC"} <= {one["name"] for one in samplers}
assert all(one["aliases"] is not None and isinstance(one["options"], dict) for one in samplers)
assert "karras" in call("util_get_scheduler_names") and "Euler a" in call("util_get_sampler_names")
assert {"name", "label", "default_rho", "need_inner_model"} <= call("get_schedulers")[0].keys()
assert [one["name"] for one in call("get_upscalers")][:3] == ["None", "Lanczos", "Nearest"]
assert call("get_latent_upscale_modes")[0] == {"name": "Latent"}
models = call("get_sd_models")
assert {"title", "model_name", "hash", "sha256", "filename", "config"} <= models[0].keys()
for name in ("get_sd_vae", "get_loras", "get_hypernetworks", "get_face_restorers", "get_realesrgan_models", "get_prompt_styles"):
    assert isinstance(call(name), list)
assert call("get_embeddings").keys() == {"loaded", "skipped"}
assert "adetailer" in call("get_scripts")["txt2img"] and api.has_adetailer and not api.has_controlnet
assert {"ram", "cuda"} <= call("get_memory").keys()
assert isinstance(call("get_cmd_flags"), dict)
assert call("refresh_checkpoints") is None

# Settings, and checkpoints by them.
options = call("get_options")
assert call("set_options", options) is None and call("get_options") == options
assert "detail" in call("set_options", {"sd_model_checkpoint": "nothing like it"})
titles = call("util_get_model_names")
call("util_set_model", titles[0][:-1].upper())
assert call("util_get_current_model") == titles[0] == options["sd_model_checkpoint"]
call("util_wait_for_ready", check_interval=0.05)
progress = call("get_progress")
assert progress["progress"] == 0 and progress["state"]["job_count"] == 0 and progress["current_image"] is None

# Drawing.
first = pictures(call("txt2img", prompt="portrait of a woman", negative_prompt="hat", seed=1003, cfg_scale=7, styles=["oil"], **SIZE), 1)
assert first.info["seed"] == 1003 and first.parameters["steps"] == 2 and first.info["sampler_name"] == "Euler a", first.info
assert first.info["infotexts"][0].startswith("oil painting of portrait of a woman\nNegative prompt: hat")
again = pictures(call("txt2img", prompt="portrait of a woman", negative_prompt="hat", seed=1003, cfg_scale=7, styles=["oil"], **SIZE), 1)
assert first.image.tobytes() == again.image.tobytes(), "the same seed draws another picture"
many = call("txt2img", prompt="x", seed=1, batch_size=2, n_iter=2, **SIZE)
pictures(many, 4)
assert many.info["all_seeds"] == [1, 2, 3, 4]
saved = call("txt2img", prompt="x", seed=1, n_iter=2, save_images=True, **SIZE)
assert len(saved.images) == 3 and saved.info["index_of_first_image"] == 1, "a grid comes first"
pictures(call("txt2img", prompt="x", send_images=False, **SIZE), 0)
pictures(call("txt2img", prompt="x", enable_hr=True, hr_scale=1.5, hr_upscaler=webuiapi.HiResUpscaler.Latent, hr_second_pass_steps=2, denoising_strength=0.7, **SIZE), 1, (96, 96))
pictures(call("txt2img", prompt="x", enable_hr=True, hr_upscaler=webuiapi.HiResUpscaler.Lanczos, hr_resize_x=80, hr_resize_y=80, **SIZE), 1, (80, 80))
pictures(call("txt2img", prompt="x", subseed=4, subseed_strength=0.3, seed_resize_from_h=32, seed_resize_from_w=32, sampler_name="DPM++ 2M", scheduler="karras",
              override_settings={"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": titles[0]}, **SIZE), 1)
face = webuiapi.ADetailer(ad_model="face_yolov8n.pt", ad_use_steps=True, ad_steps=2)
with_faces = pictures(call("txt2img", prompt="x", adetailer=[face], **SIZE), 1)
assert with_faces.info.get("notes") is None, with_faces.info
for sampler in samplers:
    if sampler["name"] not in ("UniPC", "DDIM", "PLMS", "DDIM CFG++"):
        pictures(api.txt2img(prompt="x", sampler_name=sampler["name"], **SIZE), 1)
fails(400, "txt2img", prompt="x", sampler_name="Eel", **SIZE)
fails(400, "txt2img", prompt="x", override_settings={"sd_model_checkpoint": "nothing like it"}, **SIZE)
fails(422, "txt2img", prompt="x", tiling=True, **SIZE)
# As the client's own example has it: types by their numbers, truth as text.
plot = [4, "1,2", "", 9, "Euler a, DPM++ 2M", "", 0, "", "", "True", "True", "False", "False", 0]
plotted = call("txt2img", prompt="x", seed=1003, script_name="X/Y/Z Plot", script_args=plot, width=64, height=64)
assert len(plotted.images) == 5 and plotted.image.width > 128 and [one.size for one in plotted.images[1:]] == [(64, 64)] * 4, plotted.info
assert "x/y/z plot" in call("get_scripts")["img2img"] and len(call("img2img", images=[first.image], script_name="X/Y/Z Plot", script_args=plot[:3] + [0, "", ""] * 2 + plot[9:], **SIZE).images) == 3
fails(422, "txt2img", prompt="x", script_name="SD upscale", **SIZE)
unit = webuiapi.ControlNetUnit(image=first.image, module="canny", model="x")
noted = pictures(call("txt2img", prompt="x", controlnet_units=[unit], roop=webuiapi.Roop(img=first.image), reactor=webuiapi.ReActor(img=first.image), sag=webuiapi.Sag(),
                      animatediff=webuiapi.AnimateDiff(), alwayson_scripts={}, **SIZE), 1)
assert len(noted.info["notes"]) == 5, noted.info["notes"]

# Drawing over pictures.
over = pictures(call("img2img", images=[first.image], prompt="x", seed=5, cfg_scale=6.5, denoising_strength=0.6, **SIZE), 1)
assert over.image.tobytes() != first.image.tobytes()
mask = Image.new("RGB", (64, 64), "black")
mask.paste("white", (16, 16, 48, 48))
inpainted = pictures(call("img2img", images=[first.image], mask_image=mask, inpainting_fill=1, inpaint_full_res=False, mask_blur=0, prompt="x", **SIZE), 1)
assert inpainted.image.convert("RGB").getpixel((2, 2)) == first.image.convert("RGB").getpixel((2, 2)), "what the mask keeps has changed"
pictures(call("img2img", images=[first.image], mask_image=mask, prompt="x", **SIZE), 1)
pictures(call("img2img", images=[first.image], resize_mode=1, adetailer=[face], width=96, height=64, steps=2), 1, (96, 64))
pictures(call("img2img", images=[first.image, mask], batch_size=2, prompt="x", **SIZE), 2)
fails(404, "img2img", images=[], prompt="x", **SIZE)

# Looking at pictures, and enlarging them.
pictures(call("extra_single_image", image=first.image, upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=1.5), 1, (96, 96))
pictures(call("extra_single_image", image=first.image, upscaler_1="Nearest", resize_mode=1, upscaling_resize_w=80, upscaling_resize_h=40), 1, (80, 40))
pictures(call("extra_batch_images", images=[first.image, first.image], upscaler_1="Lanczos", upscaling_resize=2), 2, (128, 128))
fails(400, "extra_single_image", image=first.image, upscaler_1=webuiapi.Upscaler.ESRGAN_4x)
info = call("png_info", image=first.image)
assert info.info == first.info["infotexts"][0] and info.parameters["Seed"] == "1003", info.info
fails(501, "interrogate", image=first.image)

# Ends.
assert call("interrupt") == {} and call("skip") is None
assert call("custom_get", "sdapi/v1/samplers") == samplers and api.custom_get("samplers", baseurl=True) == samplers
pictures(call("custom_post", "sdapi/v1/txt2img", payload=dict(prompt="x", **SIZE)), 1)
assert api.custom_get("queue/status")["msg"]
api.set_auth("nobody", "nothing")  # where none is asked for, what is sent is left
pictures(api.txt2img(prompt="x", **SIZE), 1)
for name in ABSENT:
    called.add(name)

left = {name for name, _ in inspect.getmembers(api, inspect.ismethod) if not name.startswith("_")} - called - INNER
assert not left, f"not called: {left}"
print("all of webuiapi", webuiapi.__version__)
