// The canvas: pictures to draw over, and a mask painted on them.
import { closer } from "./look.js";

const MASK_TYPE = "image/png";

// canvas makes the canvas of what the room gives it.
export function canvas({ stage, sheet, picture, before, mask, $, call, say, changed, value, read }) {
	const pen = mask.getContext("2d", { willReadFrequently: true });
	const undo = [];
	let tool = "", at = null, saving = Promise.resolve(), saveSoon = 0, dirty = false;
	const shown = () => !before.hidden && (!mask.hidden || picture.hidden) ? before : picture;
	const { fit, box, point, apply } = closer({ stage, sheet, shown, busy: () => Boolean(tool) });

	stage.addEventListener("keydown", (e) => {
		if (e.key !== "[" && e.key !== "]") return;
		$("brush-size").value = Number($("brush-size").value) * (e.key === "]" ? 1.2 : 0.83);
		e.preventDefault();
	});

	// The picture to begin with.

	async function set(file) {
		try {
			const { name } = await call("POST", "/api/v1/inputs/" + encodeURIComponent(file.name || "picture"), file);
			place(name);
		} catch (problem) { say(problem.detail, 6); }
	}
	function place(name) {
		$("image").value = name;
		$("mask-name").value = "";
		$("fold-image").open = true;
		begin();
		changed();
	}
	// begin shows the picture to begin with, and a mask if one was painted.
	function begin() {
		const has = Boolean(value("image"));
		$("brushes").hidden = $("unset").hidden = !has;
		if (!has) { before.hidden = mask.hidden = true; picture.hidden = !picture.getAttribute("src"); $("hint").hidden = !picture.hidden; use(""); return; }
		before.onload = () => {
			mask.width = before.naturalWidth;
			mask.height = before.naturalHeight;
			undo.length = 0;
			blur();
			if (value("mask-name")) {
				const painted = new Image();
				painted.onload = () => pen.drawImage(painted, 0, 0, mask.width, mask.height);
				painted.src = "/api/v1/" + value("mask-name");
			}
		};
		before.src = "/api/v1/" + value("image");
		if (tool || !picture.getAttribute("src") || !stage.dataset.file) edit();
	}
	// edit shows what is painted on, instead of what came of it.
	function edit() {
		before.hidden = mask.hidden = false;
		picture.hidden = $("hint").hidden = true;
		$("compare-tools").hidden = true;
	}
	$("image_file").addEventListener("change", (e) => { if (e.target.files[0]) { stage.dataset.file = ""; picture.removeAttribute("src"); set(e.target.files[0]); } e.target.value = ""; });
	$("unset").addEventListener("click", () => { $("image").value = $("mask-name").value = ""; begin(); changed(); });
	$("take").addEventListener("click", async () => {
		if (!stage.dataset.file) { say("There is no finished picture to take.", 3); return; }
		const answer = await fetch(`/api/v1/jobs/${stage.dataset.job}/files/${stage.dataset.file}`);
		await set(new File([await answer.blob()], stage.dataset.file));
		edit();
	});
	stage.addEventListener("dragover", (e) => { if (e.dataTransfer.types.includes("Files")) { e.preventDefault(); stage.classList.add("drop"); } });
	stage.addEventListener("dragleave", () => stage.classList.remove("drop"));
	stage.addEventListener("drop", (e) => {
		e.preventDefault();
		stage.classList.remove("drop");
		const file = e.dataTransfer.files[0];
		if (!file) return;
		if (!file.type.startsWith("image/")) { read(file); return; }
		picture.removeAttribute("src");
		stage.dataset.file = "";
		set(file);
	});

	// The mask: white where it is painted, on nothing.

	function use(name) {
		tool = tool === name ? "" : name;
		for (const b of document.querySelectorAll("[data-tool]")) b.setAttribute("aria-pressed", String(b.dataset.tool === tool));
		mask.classList.toggle("painting", Boolean(tool));
		if (tool) edit();
		apply();
	}
	for (const b of document.querySelectorAll("[data-tool]")) b.addEventListener("click", () => use(b.dataset.tool));

	// blur shows the mask's edge as it will be applied: pixels of the picture, on the screen.
	function blur() { mask.style.filter = `blur(${(Number(value("mask_blur")) || 0) * box().scale}px)`; }
	$("mask_blur").addEventListener("input", blur);
	new ResizeObserver(blur).observe(stage);

	function remember() {
		undo.push(pen.getImageData(0, 0, mask.width, mask.height));
		if (undo.length > 12) undo.shift();
	}
	function stroke(from, to) {
		pen.globalCompositeOperation = tool === "eraser" ? "destination-out" : "source-over";
		pen.strokeStyle = "#fff";
		pen.lineCap = pen.lineJoin = "round";
		pen.lineWidth = Number($("brush-size").value);
		pen.beginPath();
		pen.moveTo(from.x, from.y);
		pen.lineTo(to.x + 0.01, to.y);
		pen.stroke();
	}
	stage.addEventListener("pointerdown", (e) => {
		if (e.button !== 0 || !tool || mask.hidden) return;
		stage.setPointerCapture(e.pointerId);
		remember();
		at = point(e);
		stroke(at, at);
	});
	stage.addEventListener("pointermove", (e) => {
		if (!at) return;
		for (const one of e.getCoalescedEvents?.() ?? [e]) { const to = point(one); stroke(at, to); at = to; }
	});
	for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { if (at) painted(); at = null; });

	function painted() {
		dirty = true;
		clearTimeout(saveSoon);
		saveSoon = setTimeout(save, 500);
	}
	// save puts the mask into the queue's store, where the job finds it, and a reload too.
	function save() {
		clearTimeout(saveSoon);
		if (!dirty) return saving;
		dirty = false;
		saving = (async () => {
			const empty = !pen.getImageData(0, 0, mask.width, mask.height).data.some((v, i) => i % 4 === 3 && v);
			if (empty) $("mask-name").value = "";
			else {
				const file = await new Promise((done) => mask.toBlob(done, MASK_TYPE));
				$("mask-name").value = (await call("POST", "/api/v1/inputs/mask.png", file)).name;
			}
			changed();
		})().catch((problem) => say(problem.detail ?? String(problem), 6));
		return saving;
	}
	$("invert").addEventListener("click", () => {
		edit();
		remember();
		pen.globalCompositeOperation = "source-out";
		pen.fillStyle = "#fff";
		pen.fillRect(0, 0, mask.width, mask.height);
		painted();
	});
	$("clear").addEventListener("click", () => { edit(); remember(); pen.clearRect(0, 0, mask.width, mask.height); painted(); });
	$("undo").addEventListener("click", () => { const last = undo.pop(); if (last) { pen.putImageData(last, 0, 0); painted(); } });

	if (value("image")) begin();
	if (value("image") && "paint" in stage.dataset) use("brush");
	return { fit, box, settled: save, painting: () => Boolean(tool) };
}
