"use strict";
// Where rows, maps and photographs come from: the server, or what is in the file.
window.captumSource = (() => {
  const maps = window.captumMaps;
  const embedded = document.getElementById("data");

  function serverSource() {
    const base = new URL("..", document.querySelector('script[src$="static/page.js"]').src);
    const get = async (path) => {
      const response = await fetch(new URL(path, base));
      if (!response.ok) throw new Error(await response.text());
      return response;
    };
    return {
      about: async () => (await get("api/about")).json(),
      rows: async (query) => (await get(`api/rows?${query}`)).json(),
      sample: async (index) => (await get(`api/sample/${index}`)).json(),
      map: async (run, index) => {
        const response = await get(`api/map/${run}/${index}`);
        const [height, width] = response.headers.get("X-Map-Size").split(" ").map(Number);
        return maps.ofBytes(await response.arrayBuffer(), height, width);
      },
      curves: async (index) => (await get(`api/curves/${index}`)).json(),
      photograph: (index) => new URL(`photograph/${index}`, base).href,
      why: async (index) => {
        const response = await fetch(new URL(`photograph/${index}`, base));
        return response.ok ? "" : response.text();
      },
      linkOf: (index, query) => new URL(`sample/${index}${query ? "?" + query : ""}`, base).href,
      again: async () => (await fetch(new URL("api/again", base), {method: "POST"})).json(),
    };
  }

  function embeddedSource(data) {
    const byIndex = new Map(data.rows.map((row) => [row.index, row]));
    return {
      about: async () => data.about,
      rows: async (query) => chosen(data, new URLSearchParams(query)),
      sample: async (index) => byIndex.get(index),
      map: async (run, index) => {
        const found = data.maps[run] && data.maps[run][index];
        if (!found) throw new Error("There is no map of this sample.");
        return maps.ofBase64(found.values, found.height, found.width);
      },
      curves: async (index) => (data.curves && data.curves[index]) || [],
      photograph: (index) => data.photographs[index] || null,
      why: async (index) => data.why[index] || "There is no photograph of this sample.",
      linkOf: (index, query) => `#${query ? query + "&" : ""}sample=${index}`,
      again: null,
    };
  }

  // Sort and filter as the server does, of the few rows that are in a file.
  function chosen(data, query) {
    const rows = data.rows;
    const text = (query.get("name") || "").toLowerCase();
    let found = rows.filter((row) => !text || (row.name || "").toLowerCase().includes(text));
    const sort = query.get("sort") || "";
    if (sort) {
      const value = (row) => (sort === "index" ? row.index : sort === "name" ? row.name || "" : row.values[sort]);
      const sign = query.get("descending") ? -1 : 1;
      const rank = (one) => (typeof one === "number" || typeof one === "string" ? one : null);
      found = found.slice().sort((a, b) => {
        const [x, y] = [rank(value(a)), rank(value(b))];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (x < y ? -1 : x > y ? 1 : 0);
      });
    }
    const asked = sort || text ? "" : data.asked;
    return {sort: sort || data.sort, asked, total: found.length, page: 1, pages: 1, said: [], rows: found, compared: 1};
  }

  return embedded ? embeddedSource(JSON.parse(embedded.textContent)) : serverSource();
})();
