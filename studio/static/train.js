// Training: settings are found by kohya's names, a file of them can be dropped.

import { dropPage } from "./files.js";

dropPage();

const find = document.querySelector("[data-find]");
if (find) {
	const sections = [...document.querySelectorAll("[data-section]")].map((section) => ({ section, open: section.open, fields: [...section.querySelectorAll("[data-option]")] }));
	const nothing = document.querySelector("[data-nothing]");
	find.addEventListener("input", () => {
		const words = find.value.toLowerCase().split(/[\s_-]+/).filter(Boolean);
		let found = 0;
		for (const s of sections) {
			let here = 0;
			for (const f of s.fields) {
				const text = (f.dataset.option + " " + f.textContent).toLowerCase().replaceAll(/[_-]/g, " ");
				const hit = words.every((w) => text.includes(w));
				f.hidden = !hit;
				if (hit) here++;
			}
			s.section.hidden = words.length > 0 && here === 0;
			s.section.open = words.length > 0 ? here > 0 : s.open;
			found += here;
		}
		nothing.hidden = found > 0;
	});
	find.addEventListener("keydown", (e) => { if (e.key === "Enter") e.preventDefault(); if (e.key === "Escape") { find.value = ""; find.dispatchEvent(new Event("input")); } });
}
