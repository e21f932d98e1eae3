// Portraits: files that are dropped, photos culled by keyboard, crops that are moved, before and after.

import { dropZone } from "./files.js";

for (const form of document.querySelectorAll("[data-drop]")) dropZone(form, send);

// tell shows what was refused.
function tell(says, text) {
	says.textContent = text;
	says.classList.add("fault");
}

// What was refused on the page before this one.
const before = sessionStorage.getItem("refused");
if (before) tell(document.querySelector("[data-drop-says]"), before);
sessionStorage.removeItem("refused");

// send brings photos one by one, so that people see how far it is and one that is refused keeps no other from coming.
async function send(form, files) {
	const says = form.querySelector("[data-drop-says]");
	let place = form.dataset.drop;
	const refused = [];
	for (const [i, file] of files.entries()) {
		says.textContent = `Sending ${i + 1} of ${files.length}: ${file.name}`;
		const body = new FormData();
		body.append("photos", file, file.name);
		try {
			const answer = await fetch(place || form.action, { method: "POST", body, headers: { Accept: "application/json" }, redirect: "follow" });
			if (!answer.ok) throw await answer.json().catch(() => ({ detail: `${file.name} was not taken.` }));
			if (!place) place = answer.url.replace(/[?#].*$/, "");
		} catch (e) {
			refused.push(e.detail || `${file.name} did not arrive: is the studio running?`);
		}
	}
	if (refused.length) {
		tell(says, refused.join(" "));
		if (refused.length === files.length) return;
	}
	if (!place) return;
	if (refused.length && location.pathname !== place) sessionStorage.setItem("refused", says.textContent);
	if (location.pathname === place && !refused.length) location.reload();
	else if (location.pathname === place) window.htmx.ajax("GET", place + "/grid", { target: "#photos", swap: "outerMorph" });
	else location.href = place;
}

// Photos: K keeps, D drops, arrows move, space shows the face.
const shots = () => [...document.querySelectorAll("[data-shots] > li")];
let at = "";

document.addEventListener("focusin", (e) => {
	const shot = e.target.closest?.("[data-shots] > li");
	if (!shot) return;
	at = shot.dataset.name;
	for (const other of shots()) other.tabIndex = other === shot ? 0 : -1;
});

document.addEventListener("keydown", (e) => {
	const shot = e.target.closest?.("[data-shots] > li");
	if (!shot || e.ctrlKey || e.metaKey || e.altKey) return;
	const all = shots();
	const i = all.indexOf(shot);
	const row = all.filter((s) => Math.abs(s.offsetTop - all[0].offsetTop) < 4).length || 1;
	const to = { ArrowRight: i + 1, ArrowLeft: i - 1, ArrowDown: i + row, ArrowUp: i - row, Home: 0, End: all.length - 1 }[e.key];
	if (to !== undefined) {
		e.preventDefault();
		all[Math.min(Math.max(to, 0), all.length - 1)]?.focus();
	} else if (e.key === "k" || e.key === "K" || e.key === "d" || e.key === "D") {
		e.preventDefault();
		const what = e.key.toLowerCase() === "k" ? "keep" : "drop";
		if (what === "drop") shot.classList.add("drop-now");
		shot.querySelector(`button[value=${what}]`).click();
		all[i + 1]?.focus();
	} else if (e.key === " " && e.target === shot) {
		e.preventDefault();
		zoom(shot);
	}
});

document.addEventListener("click", (e) => {
	const link = e.target.closest?.("[data-shots] figure a");
	if (!link || e.ctrlKey || e.metaKey || e.shiftKey) return;
	e.preventDefault();
	const shot = link.closest("li");
	shot.focus();
	zoom(shot);
});

function zoom(shot) {
	const dialog = document.getElementById("zoom");
	if (!dialog) return;
	const picture = dialog.querySelector("img");
	picture.src = shot.dataset.face || shot.querySelector("a").href;
	picture.alt = shot.dataset.name;
	dialog.querySelector("[data-says]").textContent = shot.getAttribute("aria-label");
	dialog.showModal();
}
document.getElementById("zoom")?.addEventListener("keydown", (e) => { if (e.key === " ") { e.preventDefault(); e.currentTarget.close(); } });

// A grid that came anew keeps the place of who works in it.
document.body.addEventListener("htmx:after:swap", () => {
	if (!at || document.activeElement !== document.body) return;
	const shot = shots().find((s) => s.dataset.name === at);
	if (shot) { for (const other of shots()) other.tabIndex = other === shot ? 0 : -1; shot.focus({ preventScroll: true }); }
});

// Crops
for (const form of document.querySelectorAll("[data-crop]")) crop(form);

function crop(form) {
	const wide = +form.dataset.wide, high = +form.dataset.high, ratio = +form.dataset.ratio, name = form.dataset.crop;
	const stage = form.querySelector(".stage"), seen = form.querySelector(".seen");
	const rect = stage.querySelector("rect"), round = stage.querySelector("ellipse"), shade = stage.querySelector(".shade");
	const field = (k) => form.elements[`${name}-${k}`];
	const show = () => {
		const w = Math.min(+field("w").value, wide, high / ratio), h = w * ratio;
		const x = Math.min(Math.max(+field("x").value, 0), wide - w), y = Math.min(Math.max(+field("y").value, 0), high - h);
		field("x").max = Math.max(1, Math.floor(wide - w));
		field("y").max = Math.max(1, Math.floor(high - h));
		for (const [k, v] of [["x", x], ["y", y], ["width", w], ["height", h]]) rect.setAttribute(k, v);
		let hole = `M${x} ${y}h${w}v${h}h${-w}z`;
		if (round) {
			const r = w / 2;
			for (const [k, v] of [["cx", x + r], ["cy", y + r], ["rx", r], ["ry", r]]) round.setAttribute(k, v);
			hole = `M${x} ${y + r}a${r} ${r} 0 1 0 ${w} 0a${r} ${r} 0 1 0 ${-w} 0z`;
		}
		shade.setAttribute("d", `M0 0H${wide}V${high}H0z${hole}`);
		seen.setAttribute("viewBox", `${x} ${y} ${w} ${h}`);
	};
	const set = (x, y, w) => {
		if (w !== undefined) field("w").value = Math.round(w);
		field("x").max = wide;
		field("y").max = high;
		field("x").value = Math.round(x);
		field("y").value = Math.round(y);
		show();
	};
	form.addEventListener("input", show);
	let grip = null;
	const scale = () => wide / stage.getBoundingClientRect().width;
	stage.addEventListener("pointerdown", (e) => {
		grip = { x: e.clientX, y: e.clientY, left: +field("x").value, top: +field("y").value };
		stage.setPointerCapture(e.pointerId);
	});
	stage.addEventListener("pointermove", (e) => {
		if (!grip) return;
		const s = Math.max(scale(), high / stage.getBoundingClientRect().height);
		set(grip.left + (e.clientX - grip.x) * s, grip.top + (e.clientY - grip.y) * s);
	});
	stage.addEventListener("pointerup", () => { grip = null; });
	stage.addEventListener("pointercancel", () => { grip = null; });
	stage.addEventListener("wheel", (e) => {
		e.preventDefault();
		const w = +field("w").value, to = Math.min(Math.max(w * (e.deltaY > 0 ? 1.04 : 0.96), wide / 8), wide, high / ratio);
		set(+field("x").value + (w - to) / 2, +field("y").value + (w - to) * ratio / 2, to);
	}, { passive: false });
	show();
}

// Before and after
for (const place of document.querySelectorAll("[data-compare]")) {
	const cut = place.querySelector("clipPath rect"), line = place.querySelector("line"), range = place.querySelector("input");
	const show = () => { cut.setAttribute("width", range.value); line.setAttribute("x1", range.value); line.setAttribute("x2", range.value); };
	range.addEventListener("input", show);
	const picture = place.querySelector("svg");
	const move = (e) => {
		if (!e.buttons) return;
		const box = picture.getBoundingClientRect();
		range.value = Math.round((e.clientX - box.left) / box.width * +range.max);
		show();
	};
	picture.addEventListener("pointerdown", move);
	picture.addEventListener("pointermove", move);
}
