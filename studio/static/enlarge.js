// Enlarging: pictures that are dropped or chosen, and what came of them beside what they were.
import { call, say } from "./studio.js";
import { catchFiles } from "./files.js";
import { closer, compare } from "./look.js";

const form = document.getElementById("form"), list = document.getElementById("pictures"), input = document.getElementById("files");

// Pictures are in the queue's store before anything is done with them, and in the address, so that a reload has them.

const names = () => [...list.querySelectorAll("[name=picture]")].map((field) => field.value);

function keep() {
	history.replaceState(null, "", "/enlarge?" + new URLSearchParams(names().map((name) => ["picture", name])));
	document.getElementById("pictures-fault").hidden = true;
}

async function add(files) {
	for (const file of files) {
		try {
			const { name } = await call("POST", "/api/v1/inputs/" + encodeURIComponent(file.name || "picture"), file);
			const item = document.getElementById("one").content.firstElementChild.cloneNode(true);
			item.querySelector("input").value = name;
			item.querySelector("img").src = "/api/v1/" + name;
			item.querySelector("button").ariaLabel = "Remove " + file.name;
			list.append(item);
		} catch (problem) { say(problem.detail ?? String(problem), 6); }
	}
	keep();
}
input.addEventListener("change", () => { add([...input.files]); input.value = ""; });
document.body.dataset.over = "dropping";
catchFiles(document.body, (files) => add([...files]));
list.addEventListener("click", (e) => {
	const button = e.target.closest("button");
	if (!button) return;
	button.closest("li").remove();
	keep();
});

// By a factor, or to a size.
const size = () => { for (const part of form.querySelectorAll("[data-if]")) part.hidden = form.elements.second.value === "None"; };
form.elements.second.addEventListener("change", size);
size();

// What came of it.
const known = new WeakSet();
function look() {
	const stage = document.getElementById("stage");
	if (!stage || known.has(stage)) return;
	known.add(stage);
	const picture = document.getElementById("picture"), range = document.getElementById("compare");
	const { box } = closer({ stage, sheet: document.getElementById("sheet"), shown: () => picture });
	if (!range) return;
	const before = compare({ range, picture, box });
	before.show();
	picture.addEventListener("load", before.show);
	new ResizeObserver(before.show).observe(stage);
}
look();
document.body.addEventListener("htmx:after:swap", look);
