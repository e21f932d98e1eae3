// Gallery: a picture that is dropped says how it was made; arrows go from one to the next.

import { catchFiles, sendWith } from "./files.js";

const file = document.querySelector("form[data-send]");
if (file) { document.body.dataset.over = "dropping"; catchFiles(document.body, (files) => sendWith(file, [...files])); }

document.addEventListener("submit", (e) => {
	const question = e.target.dataset.confirm;
	if (question && !confirm(question)) e.preventDefault();
});

document.addEventListener("keydown", (e) => {
	const link = e.target.closest?.(".thumbs a");
	if (!link || e.ctrlKey || e.metaKey || e.altKey) return;
	const all = [...document.querySelectorAll(".thumbs a")];
	const i = all.indexOf(link);
	const row = [...link.closest("ul").querySelectorAll("a")].filter((a) => a.offsetTop === link.offsetTop).length || 1;
	const to = { ArrowRight: i + 1, ArrowLeft: i - 1, ArrowDown: i + row, ArrowUp: i - row }[e.key];
	if (to === undefined || !all[to]) return;
	e.preventDefault();
	all[to].focus();
});
