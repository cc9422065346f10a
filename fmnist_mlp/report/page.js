/* Sorts tables; without it a table is as it is. Cells without a value stay at the end either way. */
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button"), isText = head.dataset.sort === "text";
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    const value = row => row.cells[column].dataset.value ?? (column ? "" : row.cells[column].textContent);
    button.onclick = () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      body.append(...[...body.rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (isText ? x.localeCompare(y, "en", {numeric: true}) : x - y);
      }));
    };
  });
}
