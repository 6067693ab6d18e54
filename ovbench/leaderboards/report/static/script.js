// Filters: what is typed into a field, and for images the group that is pressed.
function filtered(name) {
  const field = document.querySelector(`[data-filters="${name}"]`);
  const count = document.querySelector(`[data-counts="${name}"]`);
  const target = document.getElementById(name);
  const items = [...(target.tBodies ? target.tBodies[0].rows : target.children)];
  const text = (item) => item.dataset.search ?? item.cells[0].dataset.v.toLowerCase();
  const noun = target.tBodies ? "classes" : "images";
  let group = "";
  const update = () => {
    const wanted = field.value.trim().toLowerCase();
    let shown = 0;
    for (const item of items) {
      const fits = !group || item.dataset.groups.split(" ").includes(group);
      item.hidden = !(fits && text(item).includes(wanted));
      shown += !item.hidden;
    }
    count.textContent = `${shown} of ${items.length} ${noun}`;
  };
  field.addEventListener("input", update);
  update();
  return (chosen) => { group = chosen; update(); };
}

filtered("class-table");
const choose = filtered("cards");
const groups = [...document.querySelectorAll("[data-group]")];
for (const button of groups) {
  button.addEventListener("click", () => {
    groups.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    choose(button.dataset.group);
  });
}

// Confusion matrices: point at a cell, or move with the arrow keys.
for (const matrix of document.querySelectorAll("svg.matrix")) {
  const names = JSON.parse(matrix.dataset.names);
  const shares = JSON.parse(matrix.dataset.shares);
  const [margin, cell] = [Number(matrix.dataset.margin), Number(matrix.dataset.cell)];
  const cursor = matrix.querySelector(".cursor");
  const readout = matrix.closest("div.scroll").parentElement.querySelector(".readout");
  let [row, column] = [0, 0];
  const show = () => {
    cursor.setAttribute("x", margin + column * cell);
    cursor.setAttribute("y", margin + row * cell);
    cursor.setAttribute("visibility", "visible");
    const share = (shares[row][column] ?? 0).toFixed(2);
    readout.textContent = row === column
      ? `${names[row]} is answered rightly on ${share} % of its pixels`
      : `${names[row]} is taken for ${names[column]} on ${share} % of its pixels`;
  };
  const inside = (place) => Math.min(names.length - 1, Math.max(0, place));
  matrix.addEventListener("pointermove", (event) => {
    const point = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(matrix.getScreenCTM().inverse());
    const [x, y] = [(point.x - margin) / cell, (point.y - margin) / cell];
    if (x < 0 || y < 0 || x >= names.length || y >= names.length) return;
    [row, column] = [Math.floor(y), Math.floor(x)];
    show();
  });
  matrix.addEventListener("focus", show);
  matrix.addEventListener("keydown", (event) => {
    const move = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
    }[event.key];
    if (!move) return;
    event.preventDefault();
    [row, column] = [inside(row + move[0]), inside(column + move[1])];
    show();
  });
}
for (const button of document.querySelectorAll(".enlarge")) {
  button.addEventListener("click", () => {
    const full = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(full));
    button.closest("div").querySelector(".scroll").classList.toggle("full", full);
  });
}

// On paper everything is open; afterwards what was closed is closed again.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((one) => { one.open = true; });
});
addEventListener("afterprint", () => closed.forEach((one) => { one.open = false; }));
