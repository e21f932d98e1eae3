// The room Draw. The server keeps the form and the jobs; here is what moves: the run, the canvas, the prompt's weights.
import { about, call, say } from "./studio.js";
import { colour, weigh, shift } from "./weights.js";
import { canvas } from "./canvas.js";
import { compare as comparing } from "./look.js";

const $ = (id) => document.getElementById(id);
const form = $("form"), stage = $("stage"), picture = $("picture"), go = $("go"), prompt = $("prompt"), negative = $("negative");

// The form: kept on the server, counted, summed up.

let keeping = 0, counting = 0;

function keep() {
	clearTimeout(keeping);
	keeping = setTimeout(() => { keeping = 0; call("POST", "/draw/form", new FormData(form)).catch(() => {}); }, 700);
}
// What was changed a moment ago is sent before who leaves, or reloads, asks for the next page; phones tell of leaving by pagehide alone.
for (const leaving of ["beforeunload", "pagehide"]) addEventListener(leaving, () => {
	if (!keeping) return;
	clearTimeout(keeping);
	keeping = 0;
	navigator.sendBeacon("/draw/form", new FormData(form));
});

function recount() {
	clearTimeout(counting);
	counting = setTimeout(async () => {
		const body = new FormData();
		for (const name of ["prompt", "negative", "steps"]) body.set(name, $(name).value);
		const counts = await call("POST", "/draw/count", body).catch(() => null);
		if (counts) { $("prompt-count").value = counts.prompt; $("negative-count").value = counts.negative; }
	}, 150);
}

const value = (name) => $(name).value.trim();
const shownValue = (name) => value(name) || $(name).placeholder || "";

function sum() {
	const set = (name, text) => { document.querySelector(`[data-sum="${name}"]`).textContent = text; };
	const n = (parseInt(value("count")) || 1) * (parseInt(value("batch")) || 1);
	const size = value("width") || value("height") ? `${value("width") || "auto"} × ${value("height") || "auto"}` : "the model’s own size";
	set("sizes", `${size} · ${n} ${n === 1 ? "picture" : "pictures"} · ${["", "-1"].includes(value("seed")) ? "random seed" : "seed " + value("seed")}`);
	set("sampling", `${value("sampler")} · ${shownValue("steps")} steps · CFG ${shownValue("cfg")}${value("schedule") ? " · " + value("schedule") : ""}`);
	const finish = [];
	if ($("hires").checked) finish.push("enlarged × " + shownValue("hires_scale"));
	if ($("faces").checked) finish.push("faces drawn anew");
	set("finish", finish.join(" · ") || "nothing more");
	set("grid", ["x_axis", "y_axis", "z_axis"].map(value).filter(Boolean).join(" × ") || "none");
	set("image", value("image") ? `${value("mask-name") ? "a part of it" : "all of it"} · ${shownValue("strength")} anew` : "none");
	for (const part of document.querySelectorAll("[data-if]")) part.hidden = !$(part.dataset.if).checked;
	const w = parseInt(value("width")), h = parseInt(value("height")), scale = parseFloat(shownValue("hires_scale")) || 2;
	$("from-to").textContent = w && h ? `from ${w} × ${h} to ${Math.floor(w * scale / 8) * 8} × ${Math.floor(h * scale / 8) * 8}` : "";
	const styles = document.querySelector("[data-styles]");
	if (styles) styles.textContent = [...form.querySelectorAll("[name=styles]:checked")].map((s) => s.value).join(", ");
}

function words() {
	for (const area of [prompt, negative]) colour(area, area.previousElementSibling);
	for (const card of document.querySelectorAll(".card")) card.setAttribute("aria-pressed", String(holds(card)));
}

// fill puts values into the form.
export function fill(values) {
	for (const [name, text] of Object.entries(values)) {
		for (const field of form.querySelectorAll(`[name="${CSS.escape(name)}"]`)) {
			if (field.type === "file") continue;
			if (field.type === "checkbox") field.checked = name === "styles" ? (text || "").split("\n").includes(field.value) : text !== "";
			else if (field.tagName !== "SELECT" || [...field.options].some((o) => o.value === text)) field.value = text;
		}
	}
	changed();
}

function changed() { sum(); words(); recount(); keep(); }
form.addEventListener("input", (e) => {
	if (e.target === prompt || e.target === negative) words();
	if (["prompt", "negative", "steps"].includes(e.target.id)) recount();
	fault(e.target.name, "");
	sum();
	keep();
});

// fault stands beside its control.
function fault(name, text) {
	const control = $(name), place = $(name + "-fault");
	if (!place) return false;
	place.textContent = text;
	place.hidden = !text;
	if (control) text ? control.setAttribute("aria-invalid", "true") : control.removeAttribute("aria-invalid");
	return true;
}

// The run.

let job = stage.dataset.job, state = stage.dataset.state, asked = false, many = false, left = 1;
const busy = () => state === "pending" || state === "running";

function button() {
	const on = busy();
	go.toggleAttribute("data-busy", on);
	go.textContent = !on ? "Generate" : asked ? "Interrupt now" : "Interrupt";
	go.title = on ? (many && !asked ? "Ends after this picture; again ends at once (Esc)" : "Ends at once (Esc)") : "Ctrl+Enter";
	$("more").hidden = !on;
	$("skip").hidden = !(on && many);
	$("progress").hidden = !on;
}

async function draw() {
	const body = new FormData(form);
	body.delete("read_file");
	body.delete("image_file");
	clearTimeout(keeping);
	keeping = 0;
	try {
		await board.settled();
		body.set("mask", value("mask-name"));
		const added = await call("POST", "/draw", body);
		for (const place of form.querySelectorAll(".fault")) place.hidden = true;
		if (busy() && job) { say("Added to the queue.", 2); return; }
		follow(added);
	} catch (problem) {
		for (const one of problem.errors ?? []) if (!fault(one.field, one.detail)) fault("form", `${one.field} ${one.detail}`);
		if (!problem.errors) fault("form", problem.detail ?? String(problem));
		const first = form.querySelector("[aria-invalid=true]");
		first?.closest("details")?.setAttribute("open", "");
		first?.focus();
	}
}

async function ask(wish) {
	if (!job || !busy()) return;
	try { await call("PATCH", "/api/v1/jobs/" + job, { wish }); } catch (problem) { say(problem.detail, 5); }
}

function interrupt() {
	ask(many && !asked && state === "running" ? "finish" : "interrupt");
	asked = true;
	button();
}

// follow shows a job from now on.
function follow(next) {
	job = next.id;
	asked = false;
	stage.dataset.job = job;
	stage.dataset.file = "";
	$("below").textContent = "";
	history.replaceState(null, "", "/draw?job=" + job);
	seen(next);
}

let loading = false, next = "", latest = "";
// show loads a picture aside and puts it in place when it is there, so that nothing flickers; of many the last wins.
function show(url) {
	if (url === latest) return;
	latest = next = url;
	if (loading) return;
	loading = true;
	const aside = new Image();
	aside.onload = aside.onerror = () => {
		loading = false;
		if (aside.naturalWidth) {
			picture.src = aside.src;
			picture.hidden = false;
			$("hint").hidden = true;
			stage.classList.remove("blank");
		}
		if (next !== url) { const again = next; latest = ""; show(again); }
	};
	aside.src = url;
}

let previews = 0, done = 0;
function seen(j) {
	if (j.id !== job) return;
	const was = state;
	state = j.state;
	const p = j.progress ?? {};
	const files = (j.files ?? []).filter((f) => f.name.endsWith(".png"));
	many = / of /.test(p.stage ?? "") || j.count > 1 || (parseInt(value("count")) || 1) > 1;
	const bar = $("progress").querySelector("progress");
	if (bar) {
		bar.value = p.total ? 100 * p.done / p.total : 0;
		$("progress").querySelector("p").textContent = state === "pending" ? "waiting in the queue" : [p.stage, p.total ? `${p.done} of ${p.total}` : "", p.left ? about(p.left) + " left" : "", p.note].filter(Boolean).join(" · ");
		document.title = busy() && p.total ? `${Math.round(100 * p.done / p.total)} % · Draw · Atelier` : "Draw · Atelier";
	}
	if (state === "running" && j.preview && !stage.dataset.file) show(`${j.preview}?${++previews}`);
	if (files.length > done || (was !== state && !busy())) {
		done = files.length;
		const last = files.at(-1);
		if (last && !busy()) choose(job, last.name, last.url);
		else below(job, stage.dataset.file);
	}
	if (was !== state) {
		done = busy() ? done : 0;
		if (!busy()) say(state === "done" ? "Done." : "", 2);
	}
	button();
}

document.body.addEventListener("job", ({ detail: j }) => {
	if (j.kind !== "draw") return;
	if (j.id !== job && j.state === "running" && !busy()) follow(j);
	seen(j);
});
document.body.addEventListener("reset", async () => {
	if (job) call("GET", "/api/v1/jobs/" + job).then(seen).catch(() => {});
});

// below shows what stands below a picture.
async function below(id, file) {
	const answer = await fetch(`/draw/result?job=${encodeURIComponent(id)}&file=${encodeURIComponent(file ?? "")}`);
	if (answer.ok) $("below").innerHTML = await answer.text();
}

function choose(id, file, url) {
	if (id !== job) { job = id; state = "done"; button(); }
	stage.dataset.job = id;
	stage.dataset.file = busy() ? "" : file;
	show(url ?? `/api/v1/jobs/${id}/files/${file}`);
	board.fit();
	below(id, file).then(compare);
	history.replaceState(null, "", `/draw?job=${id}&file=${encodeURIComponent(file)}`);
}
document.addEventListener("click", (e) => {
	const link = e.target.closest?.("a[data-file]");
	if (!link || e.ctrlKey || e.metaKey || e.shiftKey || busy()) return;
	e.preventDefault();
	choose(link.dataset.job, link.dataset.file);
});

form.addEventListener("submit", (e) => {
	const submitter = e.submitter;
	if (submitter?.hasAttribute("formaction")) return; // a picture is sent on
	if (submitter?.value === "read") { e.preventDefault(); read($("read_file").files[0] ?? new Blob([prompt.value])); return; }
	e.preventDefault();
	busy() ? interrupt() : draw();
});
$("more").addEventListener("click", draw);
$("skip").addEventListener("click", () => ask("skip"));
document.addEventListener("keydown", (e) => {
	if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); draw(); }
	else if (e.key === "Enter" && e.altKey) { e.preventDefault(); ask("skip"); }
	else if (e.key === "Escape" && busy()) interrupt();
});

// Words.

for (const area of [prompt, negative]) {
	area.addEventListener("scroll", () => { area.previousElementSibling.scrollTop = area.scrollTop; });
	area.addEventListener("keydown", (e) => {
		if ((e.ctrlKey || e.metaKey) && (e.key === "ArrowUp" || e.key === "ArrowDown")) { e.preventDefault(); weigh(area, e.key === "ArrowUp" ? 1 : -1); }
		else if (e.altKey && (e.key === "ArrowLeft" || e.key === "ArrowRight")) { e.preventDefault(); shift(area, e.key === "ArrowRight" ? 1 : -1); }
	});
}

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const alone = (text) => new RegExp(`(^|,\\s*)${escaped(text)}(?=$|,)`);
const pattern = (card) => card.dataset.tag.startsWith("<") ? new RegExp(`,?\\s*<lora:${escaped(card.dataset.name)}(:[^>]*)?>`) : alone(card.dataset.tag);
const without = (text, part) => text.replace(part, "").replace(/^,\s*/, "");
const holds = (card) => pattern(card).test(prompt.value);
const join = (text, more) => text.trim() ? text.trimEnd().replace(/,$/, "") + ", " + more : more;
document.addEventListener("click", (e) => {
	const card = e.target.closest?.(".card");
	if (card) {
		const triggers = card.querySelector("[data-triggers]")?.dataset.triggers.split(", ").slice(0, 1) ?? [];
		if (holds(card)) prompt.value = triggers.reduce((text, word) => without(text, alone(word)), without(prompt.value, pattern(card)));
		else {
			prompt.value = join(prompt.value, card.dataset.tag);
			for (const word of triggers) if (word && !prompt.value.includes(word)) prompt.value = join(prompt.value, word);
		}
		changed();
	}
	const tab = e.target.closest?.("[data-cards]");
	if (tab) {
		for (const one of document.querySelectorAll("[data-cards]")) one.setAttribute("aria-pressed", String(one === tab));
		cards();
	}
});
let searching = 0;
async function cards() {
	const kind = document.querySelector("[data-cards][aria-pressed=true]").dataset.cards;
	const answer = await fetch(`/draw/cards?kind=${kind}&q=${encodeURIComponent($("cards-search").value)}`);
	if (answer.ok) $("cards").outerHTML = await answer.text();
	words();
}
$("cards-search").addEventListener("input", (e) => { e.stopPropagation(); clearTimeout(searching); searching = setTimeout(cards, 120); });
$("cards-search").addEventListener("keydown", (e) => { if (e.key === "Enter") e.preventDefault(); });

// Settings from a picture or a text.

async function read(file) {
	try {
		const { values, note } = await call("POST", "/draw/read", file);
		fill(values);
		$("note").textContent = note;
		fault("read_file", "");
	} catch (problem) {
		fault("read_file", problem.detail);
		say(problem.detail, 5);
	}
}
$("read_file").addEventListener("change", (e) => { if (e.target.files[0]) read(e.target.files[0]); });

const prompts = document.querySelector(".words");
prompts.addEventListener("dragover", (e) => { if (e.dataTransfer.types.includes("Files")) e.preventDefault(); });
prompts.addEventListener("drop", (e) => {
	const file = e.dataTransfer.files[0];
	if (file) { e.preventDefault(); read(file); }
});

// Size and seed.

$("swap").addEventListener("click", () => { [$("width").value, $("height").value] = [$("height").value, $("width").value]; changed(); });
for (const preset of document.querySelectorAll("[data-size]")) preset.addEventListener("click", () => { [$("width").value, $("height").value] = preset.dataset.size.split("×"); changed(); });
$("random").addEventListener("click", () => { $("seed").value = -1; changed(); });
$("reuse").addEventListener("click", () => { const seed = $("shown-seed")?.textContent; if (seed) { $("seed").value = seed; changed(); } });

// The canvas.

const board = canvas({ stage, sheet: $("sheet"), picture, before: $("before"), mask: $("mask"), $, call, say, changed, value, read });

const cover = comparing({ range: $("compare"), picture, box: board.box });

function compare() {
	const before = stage.dataset.before || (value("image") ? "/api/v1/" + value("image") : "");
	const can = Boolean(before && stage.dataset.file);
	$("compare-tools").hidden = !can;
	if (can && !board.painting()) { $("before").src = before; $("before").hidden = false; }
	cover.reset();
}

sum();
words();
button();
if (busy()) call("GET", "/api/v1/jobs/" + job).then(seen).catch(() => {});
else compare();
