// The canvas: pictures to draw over, a mask painted on them, and a closer look.

const MASK_TYPE = "image/png";

// canvas makes the canvas of what the room gives it.
export function canvas({ stage, sheet, picture, before, mask, $, call, say, changed, value, read }) {
	const pen = mask.getContext("2d", { willReadFrequently: true });
	const undo = [];
	let tool = "", at = null, view = { scale: 1, x: 0, y: 0 }, saving = Promise.resolve(), saveSoon = 0, dirty = false;

	// A closer look.

	function look() {
		sheet.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
		const shown = picture.hidden ? before : picture;
		sheet.classList.toggle("close", view.scale > 1 && view.scale * box().width > 4 * (shown.naturalWidth || 1e9));
	}
	function zoom(factor, x, y) {
		const scale = Math.min(32, Math.max(1, view.scale * factor)), k = scale / view.scale;
		view = scale === 1 ? { scale: 1, x: 0, y: 0 } : { scale, x: x - k * (x - view.x), y: y - k * (y - view.y) };
		look();
	}
	function fit() { view = { scale: 1, x: 0, y: 0 }; look(); }

	// box is where the picture is within the stage, before any zoom.
	function box() {
		const shown = !before.hidden && (mask.hidden === false || picture.hidden) ? before : picture;
		const w = shown.naturalWidth || 1, h = shown.naturalHeight || 1;
		const scale = Math.min(stage.clientWidth / w, stage.clientHeight / h);
		return { left: (stage.clientWidth - w * scale) / 2, top: (stage.clientHeight - h * scale) / 2, width: w * scale, height: h * scale, scale };
	}

	stage.addEventListener("wheel", (e) => {
		e.preventDefault();
		const r = stage.getBoundingClientRect();
		zoom(Math.exp(-e.deltaY / 400), e.clientX - r.left, e.clientY - r.top);
	}, { passive: false });
	stage.addEventListener("dblclick", (e) => {
		if (tool) return;
		const r = stage.getBoundingClientRect(), shown = picture.hidden ? before : picture;
		view.scale > 1 ? fit() : zoom(Math.max(2, (shown.naturalWidth || 0) / box().width), e.clientX - r.left, e.clientY - r.top);
	});
	stage.addEventListener("keydown", (e) => {
		const middle = [stage.clientWidth / 2, stage.clientHeight / 2];
		if (e.key === "+" || e.key === "=") zoom(1.25, ...middle);
		else if (e.key === "-") zoom(0.8, ...middle);
		else if (e.key === "0") fit();
		else if (e.key === "[" || e.key === "]") { $("brush-size").value = Number($("brush-size").value) * (e.key === "]" ? 1.2 : 0.83); }
		else if (view.scale > 1 && e.key.startsWith("Arrow")) { view.x += { ArrowLeft: 40, ArrowRight: -40 }[e.key] ?? 0; view.y += { ArrowUp: 40, ArrowDown: -40 }[e.key] ?? 0; look(); }
		else return;
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
	}
	for (const b of document.querySelectorAll("[data-tool]")) b.addEventListener("click", () => use(b.dataset.tool));

	// blur shows the mask's edge as it will be applied: pixels of the picture, on the screen.
	function blur() { mask.style.filter = `blur(${(Number(value("mask_blur")) || 0) * box().scale}px)`; }
	$("mask_blur").addEventListener("input", blur);
	new ResizeObserver(() => { blur(); look(); }).observe(stage);

	function point(e) {
		const r = stage.getBoundingClientRect(), b = box();
		return { x: ((e.clientX - r.left - view.x) / view.scale - b.left) / b.scale, y: ((e.clientY - r.top - view.y) / view.scale - b.top) / b.scale };
	}
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
	let pan = null;
	stage.addEventListener("pointerdown", (e) => {
		if (e.button !== 0) return;
		stage.setPointerCapture(e.pointerId);
		if (tool && !mask.hidden) { remember(); at = point(e); stroke(at, at); }
		else if (view.scale > 1) pan = { x: e.clientX - view.x, y: e.clientY - view.y };
	});
	stage.addEventListener("pointermove", (e) => {
		if (at) { for (const one of e.getCoalescedEvents?.() ?? [e]) { const to = point(one); stroke(at, to); at = to; } }
		else if (pan) { view.x = e.clientX - pan.x; view.y = e.clientY - pan.y; look(); }
	});
	const end = () => { if (at) painted(); at = pan = null; };
	stage.addEventListener("pointerup", end);
	stage.addEventListener("pointercancel", end);

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
	return { fit, box, settled: save, painting: () => Boolean(tool) };
}
