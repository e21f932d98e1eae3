// A closer look at pictures, and at what they were before.

// closer lets people zoom on a stage, whose sheet has pictures of one size: by the wheel, two clicks, plus, minus and 0; and move by dragging
// and by arrows. shown gives the picture that is looked at; busy says that clicks and dragging mean something else.
export function closer({ stage, sheet, shown, busy = () => false }) {
	let view = { scale: 1, x: 0, y: 0 }, pan = null;

	function apply() {
		sheet.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
		sheet.classList.toggle("close", view.scale > 1 && view.scale * box().width > 4 * (shown().naturalWidth || 1e9));
		stage.classList.toggle("pans", view.scale > 1 && !busy());
	}
	function zoom(factor, x, y) {
		const scale = Math.min(32, Math.max(1, view.scale * factor)), k = scale / view.scale;
		view = scale === 1 ? { scale: 1, x: 0, y: 0 } : { scale, x: x - k * (x - view.x), y: y - k * (y - view.y) };
		apply();
	}
	function fit() { view = { scale: 1, x: 0, y: 0 }; apply(); }

	// box is where the picture is within the stage, before any zoom.
	function box() {
		const w = shown().naturalWidth || 1, h = shown().naturalHeight || 1;
		const scale = Math.min(stage.clientWidth / w, stage.clientHeight / h);
		return { left: (stage.clientWidth - w * scale) / 2, top: (stage.clientHeight - h * scale) / 2, width: w * scale, height: h * scale, scale };
	}
	// point is where an event is, in pixels of the picture.
	function point(e) {
		const r = stage.getBoundingClientRect(), b = box();
		return { x: ((e.clientX - r.left - view.x) / view.scale - b.left) / b.scale, y: ((e.clientY - r.top - view.y) / view.scale - b.top) / b.scale };
	}
	const within = (e) => { const r = stage.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };

	stage.addEventListener("wheel", (e) => { e.preventDefault(); zoom(Math.exp(-e.deltaY / 400), ...within(e)); }, { passive: false });
	stage.addEventListener("dblclick", (e) => {
		if (busy()) return;
		view.scale > 1 ? fit() : zoom(Math.max(2, (shown().naturalWidth || 0) / box().width), ...within(e));
	});
	stage.addEventListener("keydown", (e) => {
		if (e.target !== stage || e.ctrlKey || e.metaKey || e.altKey) return;
		const middle = [stage.clientWidth / 2, stage.clientHeight / 2];
		if (e.key === "+" || e.key === "=") zoom(1.25, ...middle);
		else if (e.key === "-") zoom(0.8, ...middle);
		else if (e.key === "0") fit();
		else if (view.scale > 1 && e.key.startsWith("Arrow")) { view.x += { ArrowLeft: 40, ArrowRight: -40 }[e.key] ?? 0; view.y += { ArrowUp: 40, ArrowDown: -40 }[e.key] ?? 0; apply(); }
		else return;
		e.preventDefault();
	});
	stage.addEventListener("pointerdown", (e) => {
		if (e.button !== 0 || busy() || view.scale === 1) return;
		stage.setPointerCapture(e.pointerId);
		pan = { x: e.clientX - view.x, y: e.clientY - view.y };
	});
	stage.addEventListener("pointermove", (e) => { if (pan) { view.x = e.clientX - pan.x; view.y = e.clientY - pan.y; apply(); } });
	for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { pan = null; });
	new ResizeObserver(apply).observe(stage);
	return { fit, box, point, apply };
}

// compare uncovers what a picture was before: what is to the left of where the range stands.
export function compare({ range, picture, box }) {
	const show = () => {
		const b = box();
		picture.parentElement.classList.toggle("compared", Number(range.value) > 0);
		picture.style.clipPath = Number(range.value) ? `inset(0 0 0 ${b.left + b.width * range.value / 100}px)` : "";
	};
	range.addEventListener("input", (e) => { e.stopPropagation(); show(); });
	return { reset() { range.value = 0; show(); }, show };
}
