"use strict";
// The keyboard: from tile to tile, from page to page, from sample to sample.
window.captumKeys = (() => {
  function press(id) {
    const element = document.getElementById(id);
    if (element) element.click();
  }

  function moveFocus(step) {
    const links = [...document.querySelectorAll(".tile .name a")];
    const at = links.indexOf(document.activeElement);
    const next = links[at < 0 ? 0 : Math.min(Math.max(at + step, 0), links.length - 1)];
    if (next) next.focus();
  }

  function inRow() {
    const grid = document.querySelector(".grid");
    return grid ? getComputedStyle(grid).gridTemplateColumns.split(" ").length : 1;
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches && event.target.matches("input, select, textarea, .wide")) return;
    const isGrid = document.querySelector(".grid") !== null;
    const keys = isGrid
      ? {
          ArrowRight: () => moveFocus(1), ArrowLeft: () => moveFocus(-1),
          ArrowDown: () => moveFocus(inRow()), ArrowUp: () => moveFocus(-inRow()),
          n: () => press("page-after"), p: () => press("page-before"),
          "/": () => { const field = document.querySelector('#form [name="name"]'); if (field) field.focus(); },
        }
      : {ArrowRight: () => press("after"), ArrowLeft: () => press("before"), Escape: () => press("back")};
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  }

  return onKey;
})();
