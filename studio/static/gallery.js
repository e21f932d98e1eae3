// Gallery: a picture that is dropped says how it was made; arrows go from one to the next; one alone is looked at closely.

import { dropPage } from "./files.js";
import { closer } from "./look.js";

dropPage();

const stage = document.getElementById("stage");
if (stage) closer({ stage, sheet: stage.firstElementChild, shown: () => stage.querySelector("img") });

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
