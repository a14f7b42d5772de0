// Search by id, or by a place on the sky: degrees, or hours and degrees with minutes and seconds.

// [RA, Dec] in degrees, or null where the words are no place.
function skyPlace(text) {
  if (!/^[\d\s.,:hmsd°'"′″+\-−]+$/i.test(text)) return null;
  const numbers = text.replaceAll("−", "-").match(/[-+]?\d+(?:\.\d*)?|[-+]?\.\d+/g) ?? [];
  if (numbers.length === 2) return onSky(Number(numbers[0]), Number(numbers[1]));
  if (numbers.length !== 6) return null;
  const [h, m, s, d, dm, ds] = numbers.map(Number);
  const size = Math.abs(d) + Math.abs(dm) / 60 + Math.abs(ds) / 3600;
  return onSky(15 * (h + Math.abs(m) / 60 + Math.abs(s) / 3600), numbers[3].startsWith("-") ? -size : size);
}

function onSky(ra, dec) {
  return ra >= 0 && ra <= 360 && Math.abs(dec) <= 90 ? [ra, dec] : null;
}

// Separation in arcsec of two places given in degrees (Vincenty's haversine form, good for small angles).
function separation(ra, dec, ra2, dec2) {
  const rad = Math.PI / 180, a = Math.sin(((dec2 - dec) * rad) / 2) ** 2;
  const b = Math.cos(dec * rad) * Math.cos(dec2 * rad) * Math.sin(((ra2 - ra) * rad) / 2) ** 2;
  return (2 * Math.asin(Math.min(1, Math.sqrt(a + b))) * 3600) / rad;
}

// {rows, words}: what was found, best first.
function search(text) {
  text = text.trim();
  if (!text) return { rows: [], words: "" };
  const exact = data.rowOf.get(text);
  if (exact !== undefined) return { rows: [exact], words: `object ${text}` };
  const place = data.ra && skyPlace(text);
  if (place) {
    const far = Array.from(data.ra, (ra, row) => separation(...place, ra, data.dec[row]));
    const rows = [...far.keys()].filter(row => Number.isFinite(far[row])).sort((a, b) => far[a] - far[b]).slice(0, 24);
    if (rows.length) return { rows, words: `nearest to RA ${place[0].toFixed(5)}, Dec ${place[1].toFixed(5)}: ${far[rows[0]].toFixed(1)}″ away` };
  }
  const low = text.toLowerCase(), rows = [];
  for (let row = 0; row < data.ids.length && rows.length < 500; row++)
    if (data.ids[row].toLowerCase().includes(low)) rows.push(row);
  const none = data.objects < data.of ? "no object drawn here has that id; not all are drawn" : "no object has that id";
  return { rows, words: rows.length ? `${rows.length}${rows.length === 500 ? " or more" : ""} ids with “${text}”` : none };
}
