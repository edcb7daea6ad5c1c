// What scrolls sideways is reached by the keyboard, and what does not is no stop on its way. A picture that the page draws
// much smaller than it is leads to its file.
(() => {
  const leadingToPictures = () => {
    for (const one of document.querySelectorAll("article img")) {
      if (one.closest("a") || one.naturalWidth <= 1.2 * one.clientWidth) continue;
      const link = document.createElement("a");
      link.href = one.src;
      link.title = "Open the picture in its own size";
      one.replaceWith(link);
      link.append(one);
    }
  };
  const scrolling = () => {
    for (const one of document.querySelectorAll(".math-wrapper, .highlight pre, .table-wrapper, .sidebar-scroll, .toc-scroll")) {
      const wide = one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight;
      if (wide) one.setAttribute("tabindex", "0");
      else one.removeAttribute("tabindex");
    }
  };
  window.addEventListener("load", () => {
    scrolling();
    leadingToPictures();
    window.MathJax?.startup?.promise?.then(scrolling);
  });
  window.addEventListener("resize", scrolling);
})();
