// The atlas: the image at the pointer, cut out of the sheet of all images, on every map at the same place.
// What is shown is always an image that the model made; nothing is blended between two of them.
(() => {
  const figures = [...document.querySelectorAll(".atlas-model")];
  if (figures.length === 0) return;

  const SVG = "http://www.w3.org/2000/svg";
  const WIDE = 1000; // units of the drawing over a map, from edge to edge
  const LANES = 500; // and of what is below a line, where each class has a lane
  const SIZE = 8; // of a mark
  const MARKS = [
    (x, y) => `M${x - SIZE} ${y}a${SIZE} ${SIZE} 0 1 0 ${2 * SIZE} 0a${SIZE} ${SIZE} 0 1 0 ${-2 * SIZE} 0z`,
    (x, y) => `M${x - SIZE} ${y - SIZE}h${2 * SIZE}v${2 * SIZE}h${-2 * SIZE}z`,
    (x, y) => `M${x} ${y - SIZE}l${SIZE} ${2 * SIZE}h${-2 * SIZE}z`,
    (x, y) => `M${x} ${y - SIZE}l${SIZE} ${SIZE}l${-SIZE} ${SIZE}l${-SIZE} ${-SIZE}z`,
    (x, y) => `M${x} ${y + SIZE}l${SIZE} ${-2 * SIZE}h${-2 * SIZE}z`,
  ];
  const linked = document.getElementById("atlas-linked");
  const dotted = document.getElementById("atlas-points");
  const said = document.getElementById("atlas-said");
  const names = [...document.querySelectorAll(".atlas-class")].map((name) => name.textContent);
  const numbers = (text) => text.split(" ").filter(Boolean).map(Number);
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const told = (value) => value.toFixed(2).replace("-", "\u2212");
  const all = document.getElementById("atlas-maps");
  let saying = null;
  let mouse = true; // or a finger, which holds nothing

  function element(name, attributes, parent) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    parent.append(made);
    return made;
  }

  // What the figure says of itself: its grid, and where u and v are on it.
  function read(figure) {
    const [columns, rows, width, height] = numbers(figure.dataset.grid);
    const [left, right, bottom, top] = numbers(figure.dataset.extent);
    const flat = numbers(figure.dataset.points);
    const points = [];
    for (let i = 0; i < flat.length; i += 3) points.push([flat[i] / 100, flat[i + 1] / 100, flat[i + 2]]);
    const find = (name) => figure.querySelector(name);
    return {
      name: figure.dataset.name, columns, rows, width, height, left, bottom, points,
      du: (right - left) / (columns - 1 || 1),
      dv: (top - bottom) / (rows - 1 || 1),
      tall: (WIDE * rows * height) / (columns * width),
      prior: numbers(figure.dataset.prior),
      image: find(".atlas-sheet"), box: find(".atlas-map"), view: find(".atlas-view"), canvas: find("canvas"),
      at: find(".atlas-at"), near: find(".atlas-near"),
    };
  }

  const x = (map, u) => (((u - map.left) / map.du + 0.5) * WIDE) / map.columns;
  const y = (map, v) => map.tall - (((v - map.bottom) / map.dv + 0.5) * map.tall) / map.rows;

  function draw(map) {
    const line = map.rows === 1;
    const high = map.tall + (line ? LANES : 0);
    const svg = element("svg", { viewBox: `0 0 ${WIDE} ${high}`, "aria-hidden": "true" }, map.box);
    map.dots = element("g", {}, svg);
    const lane = LANES / (names.length + 1);
    const paths = new Map();
    map.points.forEach(([u, v, k], i) => {
      const scatter = ((i * 0.618) % 1) - 0.5; // so that the points of a lane do not hide each other
      const height = line ? map.tall + lane * ((k < 0 ? names.length : k) + 0.5 + 0.7 * scatter) : y(map, v);
      const mark = MARKS[k < 0 ? 0 : k % MARKS.length](Math.round(x(map, u)), Math.round(height));
      paths.set(k, (paths.get(k) ?? "") + mark);
    });
    for (const [k, d] of paths) element("path", { d, class: k < 0 ? "other" : `class-${k % 10}` }, map.dots);
    for (const ring of line ? [] : [1, 2, 3]) {
      const [u, v] = map.prior;
      element("circle", { cx: x(map, u), cy: y(map, v), r: ((ring / map.du) * WIDE) / map.columns }, svg);
    }
    map.cursors = ["cursor under", "cursor"].map((name) => element("rect", { class: name }, svg));
    for (const cursor of map.cursors) {
      cursor.setAttribute("width", WIDE / map.columns);
      cursor.setAttribute("height", line ? high : map.tall / map.rows);
    }
  }

  // The class of the nearest test image on the plane, if one is as near as the next place.
  function neighbour(map, u, v) {
    if (map.points.length === 0) return "";
    let best = Infinity;
    let label = -1;
    for (const [pu, pv, k] of map.points) {
      const distance = Math.hypot(pu - u, map.rows === 1 ? 0 : pv - v);
      if (distance < best) [best, label] = [distance, k];
    }
    if (best > map.du) return "no test image near";
    return `test image near: ${label < 0 ? "another class" : names[label]}`;
  }

  function show(map, u, v) {
    const column = Math.round((u - map.left) / map.du);
    const row = map.rows === 1 ? 0 : Math.round((v - map.bottom) / map.dv);
    const there = column >= 0 && column < map.columns && row >= 0 && row < map.rows;
    if (map.shown === `${column} ${row}`) return;
    map.shown = `${column} ${row}`;
    const pen = map.canvas.getContext("2d");
    pen.clearRect(0, 0, map.width, map.height);
    for (const cursor of map.cursors) cursor.classList.toggle("gone", !there);
    if (!there) {
      map.at.textContent = "beyond its edges";
      map.near.textContent = "";
      map.canvas.setAttribute("aria-label", `No image: the place is beyond the edges of the map of ${map.name}`);
      return;
    }
    map.u = map.left + column * map.du;
    map.v = map.bottom + row * map.dv;
    const fromTop = map.rows - 1 - row;
    // The sheet may have been made smaller, so that the page keeps within its limit: it knows best how large it is.
    const [wide, high] = [map.image.naturalWidth / map.columns, map.image.naturalHeight / map.rows];
    pen.imageSmoothingEnabled = false;
    pen.drawImage(map.image, column * wide, fromTop * high, wide, high, 0, 0, map.width, map.height);
    for (const cursor of map.cursors) {
      cursor.setAttribute("x", (column * WIDE) / map.columns);
      cursor.setAttribute("y", (fromTop * map.tall) / map.rows);
    }
    map.at.textContent = map.rows === 1 ? `u ${told(map.u)}` : `u ${told(map.u)}, v ${told(map.v)}`;
    map.near.textContent = neighbour(map, map.u, map.v);
    map.canvas.setAttribute("aria-label", `What ${map.name} makes of ${map.at.textContent}`);
  }

  function go(map, u, v) {
    for (const other of linked.checked ? maps : [map]) show(other, u, v);
  }

  function point(map, event) {
    if (all.classList.contains("held")) return;
    const box = map.box.getBoundingClientRect();
    const column = clamp(Math.floor(((event.clientX - box.left) / box.width) * map.columns), 0, map.columns - 1);
    const down = clamp(Math.floor(((event.clientY - box.top) / box.height) * map.rows), 0, map.rows - 1);
    go(map, map.left + column * map.du, map.rows === 1 ? map.v : map.bottom + (map.rows - 1 - down) * map.dv);
  }

  function key(map, event) {
    const [du, dv] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [];
    if (event.altKey || event.ctrlKey || event.metaKey || (du === undefined && event.key !== "Home")) return;
    event.preventDefault(); // the page would scroll
    const steps = event.shiftKey ? 4 : 1;
    const u = clamp(map.u + du * steps * map.du, map.left, map.left + (map.columns - 1) * map.du);
    const v = clamp(map.v + dv * steps * map.dv, map.bottom, map.bottom + (map.rows - 1) * map.dv);
    go(map, event.key === "Home" ? 0 : u, event.key === "Home" ? 0 : v);
    clearTimeout(saying); // said once, when the keys rest
    saying = setTimeout(() => {
      said.textContent = `${map.name}: ${map.at.textContent}${map.near.textContent ? `, ${map.near.textContent}` : ""}`;
    }, 500);
  }

  function scatter() {
    for (const map of maps) {
      map.box.classList.toggle("dotted", dotted.checked && map.points.length > 0);
      map.dots.classList.toggle("gone", !dotted.checked);
    }
  }

  const maps = figures.map(read);
  for (const map of maps) {
    map.canvas.width = map.width;
    map.canvas.height = map.height;
    map.box.classList.add("live");
    for (const [name, value] of Object.entries({
      tabindex: "0",
      role: "application",
      "aria-roledescription": "map",
      "aria-label": `Map of ${map.name}`,
      "aria-describedby": "atlas-keys",
    })) map.box.setAttribute(name, value);
    draw(map);
    map.box.addEventListener("pointermove", (event) => point(map, event));
    map.box.addEventListener("pointerdown", (event) => {
      mouse = event.pointerType === "mouse";
      point(map, event);
    });
    map.box.addEventListener("click", (event) => {
      map.box.focus({ preventScroll: true });
      if (mouse) all.classList.toggle("held");
      point(map, event);
    });
    map.box.addEventListener("keydown", (event) => key(map, event));
    map.view.hidden = false;
    map.image.decode().then(() => {
      map.shown = null;
      show(map, map.u ?? 0, map.v ?? 0);
    }, () => {});
    show(map, 0, 0);
  }
  linked.addEventListener("change", () => {
    if (linked.checked) go(maps[0], maps[0].u, maps[0].v);
  });
  dotted.addEventListener("change", scatter);
  document.getElementById("atlas-tools").hidden = false;
  scatter();
})();
