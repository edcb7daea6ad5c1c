"use strict";
// From numbers to pixels, as captum_ext.visualize has it: limits, colours, and the largest numbers of a map.
// A map is {height, width, values}, its values a Float32Array, row by row.
window.captumMaps = (() => {
  const QUANTILE = 0.995;
  const COVER = [118, 118, 118, 255];

  function ofBytes(bytes, height, width) {
    return {height, width, values: new Float32Array(bytes)};
  }

  function ofBase64(text, height, width) {
    const letters = atob(text);
    const bytes = new Uint8Array(letters.length);
    for (let k = 0; k < letters.length; k++) bytes[k] = letters.charCodeAt(k);
    return ofBytes(bytes.buffer, height, width);
  }

  function finiteSizes(maps) {
    let length = 0;
    for (const map of maps) length += map.values.length;
    const sizes = new Float32Array(length);
    let n = 0;
    for (const map of maps) for (const value of map.values) if (Number.isFinite(value)) sizes[n++] = Math.abs(value);
    return sizes.subarray(0, n).sort();
  }

  // The range that shows maps together: symmetric where a number is below zero.
  function limitsOf(maps) {
    const sizes = finiteSizes(maps);
    const signed = maps.some((map) => map.values.some((value) => value < 0));
    if (!sizes.length) return {limit: 1, signed};
    const place = QUANTILE * (sizes.length - 1);
    const before = Math.floor(place);
    const after = Math.min(before + 1, sizes.length - 1);
    const between = sizes[before] + (sizes[after] - sizes[before]) * (place - before);
    return {limit: between || sizes[sizes.length - 1] || 1, signed};
  }

  // Share of all pixels, and of the mass, that is beyond the range.
  function shareOutside(maps, limits) {
    let pixels = 0, beyond = 0, mass = 0, massBeyond = 0;
    for (const map of maps) {
      for (const value of map.values) {
        if (!Number.isFinite(value)) continue;
        const size = Math.abs(value);
        pixels += 1;
        mass += size;
        if (size > limits.limit) {
          beyond += 1;
          massBeyond += size;
        }
      }
    }
    return {pixels: pixels ? beyond / pixels : 0, mass: mass ? massBeyond / mass : 0};
  }

  function tableOf(limits, palettes) {
    return palettes[limits.signed ? "signed" : "magnitude"];
  }

  function placeOf(value, limits, length) {
    const low = limits.signed ? -limits.limit : 0;
    const share = (Math.min(Math.max(value, low), limits.limit) - low) / (limits.limit - low);
    return Math.min(Math.floor(share * length), length - 1);
  }

  // A number that those of the largest `share` of pixels exceed; equal ones are all in or all out.
  function thresholdOf(map, share) {
    if (!map.sorted) map.sorted = Float32Array.from(map.values).sort();
    const most = Math.floor(share * map.sorted.length + 1e-9);
    return most >= map.sorted.length ? -Infinity : map.sorted[map.sorted.length - most - 1];
  }

  // Draw a map: its colours; or, of keep < 1, a cover over all but the largest numbers.
  function paint(canvas, map, limits, palettes, keep, hasPhotograph) {
    canvas.width = map.width;
    canvas.height = map.height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(map.width, map.height);
    const table = tableOf(limits, palettes);
    const length = table.length / 3;
    const threshold = keep < 1 ? thresholdOf(map, keep) : -Infinity;
    for (let k = 0; k < map.values.length; k++) {
      const value = map.values[k];
      const kept = keep >= 1 || value > threshold;
      if (!Number.isFinite(value) || !kept) image.data.set(COVER, 4 * k);
      else if (keep >= 1 || !hasPhotograph) {
        const place = 3 * placeOf(value, limits, length);
        image.data.set([table[place], table[place + 1], table[place + 2], 255], 4 * k);
      }
    }
    context.putImageData(image, 0, 0);
  }

  function paintBar(canvas, limits, palettes) {
    const table = tableOf(limits, palettes);
    canvas.width = table.length / 3;
    canvas.height = 1;
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, 1);
    for (let k = 0; k < canvas.width; k++) {
      image.data.set([table[3 * k], table[3 * k + 1], table[3 * k + 2], 255], 4 * k);
    }
    context.putImageData(image, 0, 0);
  }

  return {ofBytes, ofBase64, limitsOf, shareOutside, thresholdOf, paint, paintBar};
})();
