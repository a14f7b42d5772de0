// Opens a store with zarrita and prints what readers.py prints: node zarrita.mjs STORE, beside zarrita's node_modules
import { createHash } from "crypto";
import fs from "fs";
import path from "path";
import FileSystemStore from "@zarrita/storage/fs";
import * as zarr from "zarrita";

const store = process.argv[2];

// The numbers in the order of the axes: zarrita gives them in the codec's order, with strides.
function flat({ data, shape, stride }) {
  const found = new data.constructor(data.length);
  let place = 0;
  const walk = (axis, offset) => {
    if (axis === shape.length) found[place++] = data[offset];
    else for (let i = 0; i < shape[axis]; i++) walk(axis + 1, offset + i * stride[axis]);
  };
  walk(0, 0);
  return Buffer.from(found.buffer, found.byteOffset, found.byteLength);
}

const out = {};
for (const name of fs.readdirSync(store)) {
  const about = path.join(store, name, "zarr.json");
  if (!fs.existsSync(about) || !JSON.parse(fs.readFileSync(about)).shape) continue;
  const array = await zarr.open(new FileSystemStore(path.join(store, name)), { kind: "array" });
  const found = await zarr.get(array);
  out[name] = Array.isArray(found.data)
    ? { shape: found.shape, texts: found.data }
    : { shape: found.shape, sum: createHash("sha256").update(flat(found)).digest("hex") };
}
console.log(JSON.stringify(out));
