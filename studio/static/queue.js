// Reordering by dragging and by Alt with the arrows. The list is morphed in place, so that focus stays where it is.
import { call, say } from "./studio.js";

const waiting = () => [...document.querySelectorAll(".waits [data-id]")];
let moving = null;

async function move(id, before) {
	try {
		await call("PATCH", `/api/v1/jobs/${id}`, { before });
		say("Moved.", 2);
	} catch (problem) {
		say(problem.detail, 6);
	}
}

document.addEventListener("dragstart", (e) => {
	moving = e.target.closest?.(".waits [data-id]");
	moving?.classList.add("moving");
});
document.addEventListener("dragend", () => {
	waiting().forEach((row) => row.classList.remove("moving", "over"));
	moving = null;
});
document.addEventListener("dragover", (e) => {
	const row = e.target.closest?.(".waits [data-id]");
	if (!moving || !row) return;
	e.preventDefault();
	waiting().forEach((one) => one.classList.toggle("over", one === row && row !== moving));
});
document.addEventListener("drop", (e) => {
	const row = e.target.closest?.(".waits [data-id]");
	if (!moving || !row || row === moving) return;
	e.preventDefault();
	const below = e.offsetY > row.clientHeight / 2;
	const rows = waiting();
	const before = below ? rows[rows.indexOf(row) + 1] : row;
	if (before !== moving) move(moving.dataset.id, before?.dataset.id ?? "");
});
document.addEventListener("keydown", (e) => {
	const row = e.target.closest?.(".waits [data-id]");
	if (!row || !e.altKey || !["ArrowUp", "ArrowDown"].includes(e.key)) return;
	e.preventDefault();
	const rows = waiting(), at = rows.indexOf(row);
	if (e.key === "ArrowUp" && at > 0) move(row.dataset.id, rows[at - 1].dataset.id);
	if (e.key === "ArrowDown" && at < rows.length - 1) move(row.dataset.id, rows[at + 2]?.dataset.id ?? "");
});
