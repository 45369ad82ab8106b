"use strict";
// The animation: one slider over the points in training, every family showing its latest picture up to there.
// Nothing moves by itself: the page opens, and stays, on the last point until someone asks for more.
(() => {
  const seek = document.getElementById("seek");
  const play = document.getElementById("play");
  const clock = document.getElementById("clock");
  const points = seek.dataset.points.split(" ").filter(Boolean).map(Number);
  if (points.length < 2) return;

  const spaced = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const figures = [...document.querySelectorAll(".frames figure")].map((figure) => ({
    frames: [...figure.querySelectorAll("img")],
    at: figure.querySelector(".at"),
  }));
  // Of reconstructions every point is shown where the slider rests, at its end, and a single one on the way there.
  const growths = [...document.querySelectorAll(".growth")].map((table) => [...table.querySelectorAll("tr[data-images]")]);
  let timer = null;

  function show(index) {
    const now = points[index];
    for (const { frames, at } of figures) {
      if (frames.length === 0) continue;
      const reached = frames.filter((frame) => Number(frame.dataset.images) <= now);
      const current = reached.at(-1) ?? frames[0];
      for (const frame of frames) frame.hidden = frame !== current;
      at.textContent = spaced(current.dataset.images);
    }
    for (const rows of growths) {
      const current = rows.filter((row) => Number(row.dataset.images) <= now).at(-1) ?? rows[0];
      for (const row of rows) row.hidden = index < points.length - 1 && row !== current;
    }
    seek.value = index;
    seek.setAttribute("aria-valuetext", `${spaced(now)} images seen`);
    clock.textContent = spaced(now);
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  function step() {
    const next = Number(seek.value) + 1;
    show(next);
    if (next === points.length - 1) pause();
  }

  function start() {
    if (Number(seek.value) === points.length - 1) show(0);
    timer = setInterval(step, 700);
    play.textContent = "Pause";
  }

  play.addEventListener("click", () => (timer === null ? start() : pause()));
  seek.addEventListener("input", () => {
    pause();
    show(Number(seek.value));
  });
  document.getElementById("player").hidden = false;
  show(points.length - 1);
})();
