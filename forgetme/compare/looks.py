"""How the report looks: the project's colours, both themes, print; and its one small script."""

CSS = """
:root {
  --ground: #f6f7f8; --panel: #fff; --line: #e3e5e8; --text: #1b1e22; --muted: #5b6270;
  --accent: #3b6fe0; --accent-text: #2f5fc9; --red: #c0362c; --amber: #8a5a00;
  --amber-soft: #fdf3dc; --green: #17794a; --mat: #eceef0; color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #16181b; --panel: #1e2125; --line: #30343a; --text: #e6e8eb; --muted: #a0a7b2;
    --accent-text: #8db0fb; --red: #ff8a80; --amber: #e5b155; --amber-soft: #39301c;
    --green: #55c58c; --mat: #191b1e;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
header, main { max-width: 1440px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 24px; }
main { padding-bottom: 48px; }
.brand { margin: 0; color: var(--accent-text); font-weight: 600; }
h1 { margin: 4px 0 12px; font-size: 22px; font-weight: 600; overflow-wrap: anywhere; }
h2 { margin: 0 0 4px; font-size: 16px; font-weight: 600; }
.chips { display: flex; flex-wrap: wrap; gap: 8px; margin: 0; padding: 0; list-style: none; }
.chips li { padding: 2px 10px; border: 1px solid var(--line); border-radius: 8px;
  background: var(--panel); }
.chips span, .muted { color: var(--muted); }
.muted { margin: 0 0 12px; max-width: 90ch; }
section { margin-top: 16px; padding: 16px; border: 1px solid var(--line); border-radius: 8px;
  background: var(--panel); }
.told { border-color: var(--amber); background: var(--amber-soft); }
.told ul { margin: 0; padding-left: 20px; }
.bar { display: flex; align-items: baseline; justify-content: space-between; gap: 16px;
  flex-wrap: wrap; }
.sort { color: var(--muted); }
select { max-width: 260px; padding: 4px 8px; border: 1px solid var(--line); border-radius: 8px;
  background: var(--panel); color: var(--text); font: inherit; }
.wide { overflow-x: auto; border-radius: 8px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
small { display: block; color: var(--muted); font-size: 12px; font-weight: 400; }
.means { min-width: 100%; }
.means th, .means td { padding: 8px 10px; border-bottom: 1px solid var(--line);
  text-align: right; vertical-align: top; white-space: nowrap; }
.means tbody tr:last-child > * { border-bottom: 0; }
.means thead th { color: var(--muted); font-weight: 500; }
.means th:first-child { position: sticky; left: 0; background: var(--panel); text-align: left;
  font-weight: 500; white-space: normal; min-width: 128px; }
.means tbody th { color: var(--text); }
.variant { max-width: 110px; overflow: hidden; text-overflow: ellipsis; margin-left: auto; }
dl .variant { display: inline; margin-left: 8px; }
strong { color: var(--green); font-weight: 650; }
abbr.warn { margin-left: 2px; text-decoration: none; font-weight: 700; cursor: help; }
.warn { color: var(--amber); }
.bad { color: var(--red); }
.pictures { width: 100%; table-layout: fixed; min-width: 1080px; }
.pictures th { padding: 0 4px 8px; color: var(--muted); font-size: 12px; font-weight: 500;
  text-align: left; vertical-align: bottom; overflow-wrap: anywhere; }
.pictures td { padding: 0 4px 16px; vertical-align: top; font-size: 12px; }
.pictures img { display: block; width: 100%; height: auto; border-radius: 4px;
  background: var(--mat); }
.pictures span { display: block; overflow-wrap: anywhere; }
.name, .words { color: var(--muted); }
.numbers { margin-top: 4px; }
.none { display: grid; place-items: center; aspect-ratio: 1; margin: 0; border-radius: 4px;
  background: var(--mat); color: var(--muted); }
.sweep td { padding-bottom: 4px; }
.chart { display: block; width: 100%; max-width: 720px; height: auto; margin-bottom: 12px; }
.legend { display: grid; grid-template-columns: minmax(160px, 260px) 1fr; gap: 4px 16px;
  margin: 8px 0; }
.legend dt { font-weight: 500; }
.legend dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
code { display: block; color: var(--muted); font: 12px ui-monospace, Menlo, Consolas, monospace; }
@media (max-width: 640px) {
  header, main { padding-left: 12px; padding-right: 12px; }
  section { padding: 12px; }
  .legend { grid-template-columns: 1fr; }
  .legend dd { margin-bottom: 8px; }
}
@media print { tr { break-inside: avoid; } .sort { display: none; } }
"""

# Sorts the rows of pictures; without it the page reads the same, in the order of the folder.
SCRIPT = """
const label = document.querySelector(".sort");
const body = document.querySelector(".pictures tbody");
if (label && body) {
  const rows = [...body.rows];
  const value = (row, key) => JSON.parse(row.dataset.values)[key] ?? Infinity;
  label.hidden = false;
  label.querySelector("select").addEventListener("change", (event) => {
    const key = event.target.value;
    const order = key ? [...rows].sort((a, b) => value(a, key) - value(b, key)) : rows;
    body.append(...order);
  });
}
"""
