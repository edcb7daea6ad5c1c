// What scrolls sideways is reached by the keyboard, and what does not is no stop on its way.
(() => {
  const scrolling = () => {
    for (const one of document.querySelectorAll(".math-wrapper, .highlight pre, .table-wrapper, .sidebar-scroll, .toc-scroll")) {
      const wide = one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight;
      if (wide) one.setAttribute("tabindex", "0");
      else one.removeAttribute("tabindex");
    }
  };
  window.addEventListener("load", () => {
    scrolling();
    window.MathJax?.startup?.promise?.then(scrolling);
  });
  window.addEventListener("resize", scrolling);
})();
