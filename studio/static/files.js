// Files that people drop or choose.

// dropZone makes a form a place to drop files on; send gets the form and the files.
export function dropZone(form, send) {
	const input = form.querySelector("input[type=file]");
	const take = (files) => { if (files.length) send(form, [...files]); };
	input.addEventListener("change", () => take(input.files));
	catchFiles(form, take);
}

// catchFiles has files that are dropped on an element given to take.
export function catchFiles(element, take) {
	let depth = 0;
	const mark = (on) => element.classList.toggle(element.dataset.over || "over", on);
	element.addEventListener("dragenter", (e) => { if (has(e)) { depth++; mark(true); } });
	element.addEventListener("dragleave", () => { if (--depth <= 0) { depth = 0; mark(false); } });
	element.addEventListener("dragover", (e) => { if (has(e)) e.preventDefault(); });
	element.addEventListener("drop", (e) => {
		if (!has(e)) return;
		e.preventDefault();
		depth = 0;
		mark(false);
		take(e.dataTransfer.files);
	});
}

function has(e) { return [...(e.dataTransfer?.types || [])].includes("Files"); }

// Forms that are sent as soon as a file is chosen.
for (const form of document.querySelectorAll("form[data-send]")) {
	form.querySelector("input[type=file]").addEventListener("change", () => form.requestSubmit());
}

// dropPage has a file that is dropped anywhere on a page sent by the page's form for one.
export function dropPage() {
	const form = document.querySelector("form[data-send]");
	if (!form) return;
	document.body.dataset.over = "dropping";
	catchFiles(document.body, (files) => sendWith(form, [...files]));
}

// sendWith sends a form with files that were dropped.
function sendWith(form, files) {
	const input = form.querySelector("input[type=file]");
	const list = new DataTransfer();
	for (const file of files.slice(0, input.multiple ? files.length : 1)) list.items.add(file);
	input.files = list.files;
	form.requestSubmit();
}
