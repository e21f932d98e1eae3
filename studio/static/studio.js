// What every page has: the stream of events, told to the page as DOM events of the body, so that htmx and the rooms hear them:
//   "job" and "job-ID" with the job as detail, at every change; "removed" with its ID; "jobs" when the list of jobs is not as it was, or
//   at most once a second while they go on.

const states = new Map();
let told = 0;
let timer = 0;

function tell(name, detail) {
	document.body.dispatchEvent(new CustomEvent(name, { detail }));
}

// listChanged tells of the list, soon if it matters and not too often.
function listChanged(soon) {
	const wait = soon ? 30 : Math.max(30, 1000 - (Date.now() - told));
	clearTimeout(timer);
	timer = setTimeout(() => { told = Date.now(); tell("jobs"); }, wait);
}

function count() {
	const badge = document.getElementById("waiting");
	if (!badge) return;
	fetch("/api/v1/jobs?limit=1000", { headers: { Accept: "application/json" } }).then((r) => r.json()).then((list) => {
		const n = list.jobs.filter((j) => j.state === "pending" || j.state === "running").length;
		badge.hidden = n === 0;
		badge.querySelector("b").textContent = n;
	}).catch(() => {});
}

function listen() {
	const source = new EventSource(document.body.dataset.events);
	source.addEventListener("job", (e) => {
		const job = JSON.parse(e.data);
		const moved = states.get(job.id) !== job.state;
		states.set(job.id, job.state);
		tell("job", job);
		tell("job-" + job.id, job);
		listChanged(moved);
		if (moved) count();
	});
	source.addEventListener("removed", (e) => {
		const { id } = JSON.parse(e.data);
		states.delete(id);
		tell("removed", { id });
		listChanged(true);
		count();
	});
	source.addEventListener("reset", () => { tell("reset"); listChanged(true); count(); });
	source.addEventListener("open", () => { if (lost) say(""); lost = false; });
	source.addEventListener("error", () => { if (!lost) say("The studio does not answer. This page goes on when it is back."); lost = true; });
	addEventListener("pagehide", () => source.close());
	addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
}
let lost = false;

// say tells people something in passing.
export function say(text, seconds = 0) {
	const place = document.getElementById("said");
	place.textContent = text;
	if (seconds) setTimeout(() => { if (place.textContent === text) place.textContent = ""; }, 1000 * seconds);
}

// call asks the API; what goes wrong is thrown as the problem that it answers with.
export async function call(method, path, body) {
	const raw = body instanceof Blob || body instanceof FormData;
	const answer = await fetch(path, {
		method,
		headers: raw || body === undefined ? { Accept: "application/json" } : { Accept: "application/json", "Content-Type": "application/json" },
		body: raw ? body : body === undefined ? undefined : JSON.stringify(body),
	});
	if (answer.status === 204) return null;
	const value = await answer.json().catch(() => ({ detail: "The studio answered with " + answer.status + "." }));
	if (!answer.ok) throw value;
	return value;
}

// about is how long something takes, from nanoseconds.
export function about(ns) {
	const s = ns / 1e9;
	if (!(s > 0)) return "";
	if (s < 1) return "less than a second";
	if (s < 90) return `about ${Math.round(s)} s`;
	if (s < 5400) return `about ${Math.round(s / 60)} minutes`;
	if (s < 129600) return `about ${Math.round(s / 3600)} hours`;
	return `about ${Math.round(s / 86400)} days`;
}

document.body.addEventListener("htmx:response:error", (e) => say(e.detail?.ctx?.response?.statusText || "That did not work.", 6));
if (document.body.dataset.events) listen();
