// Weights in prompts, as the web UI has them: coloured behind the text, and changed by keys.

const round = (n) => Math.round(n * 1000) / 1000;

// spans cuts a prompt into pieces with their weights, as (a), [a] and (a:1.2) give them, and tags.
export function spans(text) {
	const pieces = [], open = [];
	const push = (from, to, kind) => { if (to > from) pieces.push({ from, to, weight: 1, kind }); };
	let from = 0;
	for (let i = 0; i < text.length; i++) {
		const c = text[i];
		if (c === "\\") { i++; continue; }
		const tag = c === "<" && /^<\w+:[^>]+>/.exec(text.slice(i));
		if (tag) { push(from, i); push(i, i + tag[0].length, "tag"); i += tag[0].length - 1; from = i + 1; continue; }
		if (c === "(" || c === "[") { push(from, i); from = i; open.push({ c, at: pieces.length, i }); continue; }
		if (c !== ")" && c !== "]") continue;
		const last = open.at(-1);
		if (!last || (last.c === "(") !== (c === ")")) { push(from, i); push(i, i + 1, "odd"); from = i + 1; continue; }
		open.pop();
		push(from, i + 1);
		from = i + 1;
		const inner = text.slice(last.i, i + 1);
		const number = c === ")" && /:\s*([+-]?[.\d]+)\s*\)$/.exec(inner);
		const edits = c === "]" && /[:|]/.test(inner.slice(1, -1));
		const factor = number ? parseFloat(number[1]) : edits ? 1 : c === ")" ? 1.1 : 1 / 1.1;
		for (const p of pieces.slice(last.at)) p.weight *= factor;
	}
	push(from, text.length);
	for (const o of open) for (const p of pieces) if (p.from === o.i) { pieces.push({ from: o.i, to: o.i + 1, weight: 1, kind: "odd" }); p.from++; break; }
	return pieces.filter((p) => p.to > p.from).sort((a, b) => a.from - b.from);
}

function classOf({ weight, kind }) {
	if (kind) return kind;
	if (weight > 1.001) return weight < 1.15 ? "up1" : weight < 1.35 ? "up2" : "up3";
	if (weight < 0.999) return weight > 0.87 ? "down1" : weight > 0.7 ? "down2" : "down3";
	return "";
}

// colour paints the layer under a text area.
export function colour(area, under) {
	const text = area.value;
	under.textContent = "";
	for (const piece of spans(text)) {
		const name = classOf(piece), words = text.slice(piece.from, piece.to);
		if (!name) { under.append(words); continue; }
		const mark = document.createElement("mark");
		mark.className = name;
		mark.textContent = words;
		under.append(mark);
	}
	under.append("\n");
	under.scrollTop = area.scrollTop;
}

// replace changes a part of the text so that Ctrl+Z takes it back, and selects what is there then.
function replace(area, from, to, text, start, end) {
	area.setSelectionRange(from, to);
	if (!document.execCommand("insertText", false, text)) area.setRangeText(text, from, to);
	area.setSelectionRange(start, end);
	area.dispatchEvent(new Event("input", { bubbles: true }));
}

// around is the bracket that the cursor is in.
function around(text, at, openers, closer) {
	let depth = 0;
	for (let i = at - 1; i >= 0; i--) {
		if (text[i] === closer) depth++;
		else if (text[i] === openers && depth-- === 0) {
			let inner = 0;
			for (let k = i + 1; k < text.length; k++) {
				if (text[k] === openers) inner++;
				else if (text[k] === closer && inner-- === 0) return k >= at ? [i, k] : null;
			}
			return null;
		}
	}
	return null;
}

// weigh changes the weight of the selection, or of the word or bracket at the cursor: by 0.1, in tags by 0.05.
export function weigh(area, sign) {
	const text = area.value;
	let [start, end] = [area.selectionStart, area.selectionEnd];
	const tag = around(text, start, "<", ">");
	if (tag) {
		const inner = text.slice(tag[0] + 1, tag[1]), m = /^(.*?):([+-]?[\d.]+)$/.exec(inner);
		const [name, weight] = m && m[1].includes(":") ? [m[1], parseFloat(m[2])] : [inner, 1];
		const changed = `${name}:${round(weight + 0.05 * sign)}`;
		replace(area, tag[0] + 1, tag[1], changed, tag[0] + 1, tag[0] + 1 + changed.length);
		return;
	}
	const wraps = (s, e) => text[s - 1] === "(" && (text[e] === ")" || /^:\s*[+-]?[\d.]+\s*\)/.test(text.slice(e)));
	let bracket = start !== end && wraps(start, end) ? [start - 1, text.indexOf(")", end)] : start === end ? around(text, start, "(", ")") : null;
	if (!bracket && start === end) {
		const stop = /[\s,.()<>[\]:|]/;
		while (start > 0 && !stop.test(text[start - 1])) start--;
		while (end < text.length && !stop.test(text[end])) end++;
	}
	if (!bracket && start !== end) while (start < end && text[end - 1] === " ") end--;
	let words = text.slice(start, end), weight = 1, from = start, to = end;
	if (bracket) {
		[from, to] = [bracket[0], bracket[1] + 1];
		const inner = text.slice(from + 1, to - 1), m = /^(.*):\s*([+-]?[\d.]+)\s*$/s.exec(inner);
		words = m ? m[1] : inner;
		weight = m ? parseFloat(m[2]) : 1.1;
		while (!m && text[from - 1] === "(" && text[to] === ")") { from--; to++; weight *= 1.1; }
	}
	if (!words) return;
	const next = round(Math.round((weight + 0.1 * sign) * 100) / 100);
	const plain = Math.abs(next - 1) < 0.001;
	const changed = plain ? words : `(${words}:${next})`;
	const at = from + (plain ? 0 : 1);
	replace(area, from, to, changed, at, at + words.length);
}

// shift moves the element between commas at the cursor to the left or right.
export function shift(area, by) {
	const parts = area.value.split(",");
	let at = 0, index = 0;
	while (index < parts.length - 1 && area.selectionStart > at + parts[index].length) at += parts[index++].length + 1;
	const other = index + by;
	if (other < 0 || other >= parts.length) return;
	const trimmed = parts.map((p) => p.trim());
	[trimmed[index], trimmed[other]] = [trimmed[other], trimmed[index]];
	const start = trimmed.slice(0, other).reduce((n, p) => n + p.length + 2, 0);
	replace(area, 0, area.value.length, trimmed.join(", "), start, start + trimmed[other].length);
}
