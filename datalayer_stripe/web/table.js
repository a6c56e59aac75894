/** Tables that keep their roles when narrow screens show each row as a block. */

import { element } from "./dom.js";

/**
 * Create a table. `columns` are `{ name, text }`; a name is the class of the column's cells and the
 * key of its content in each row. `label` has the attributes that name the table.
 *
 * The roles are explicit: on narrow screens, `display: block` removes the implicit ones.
 */
export function table({ columns, rows, label }) {
  const heads = columns.map(({ name, text }) =>
    element("th", { scope: "col", role: "columnheader", className: name }, text),
  );
  return element(
    "table",
    { role: "table", ...label },
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...heads)),
    element("tbody", { role: "rowgroup" }, ...rows.map((row) => tableRow(columns, row))),
  );
}

/** Create one row of a table. */
export function tableRow(columns, content) {
  const cells = columns.map(({ name, text }) =>
    element(
      "td",
      { role: "cell", className: name, "data-label": text },
      ...[content[name]].flat().filter((part) => part !== null),
    ),
  );
  return element("tr", { role: "row" }, ...cells);
}
