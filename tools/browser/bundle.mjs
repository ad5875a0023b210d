// Bundles a module and what it imports into one minified ES module: node bundle.mjs ENTRY OUTPUT FINGERPRINT
// build.py calls it after `npm ci`. The licences of all packages that are bundled go on top of the file. What imports no package is our own,
// and gets a source map.
import { build } from "esbuild";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [entry, output, fingerprint] = process.argv.slice(2);
if (!entry || !output || !fingerprint) {
  console.error("usage: node bundle.mjs ENTRY OUTPUT FINGERPRINT");
  process.exit(2);
}

const settings = {
  absWorkingDir: here,
  entryPoints: [entry],
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2022",
  metafile: true,
  write: false,
  outfile: output,
  logLevel: "warning",
  logLimit: 5,
};
let result = await build(settings);

/** The folders under node_modules that ended up in the bundle: `@scope/name` or `name`. */
const packages = new Set();
for (const path of Object.keys(result.metafile.inputs)) {
  const match = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
  if (match) packages.add(match[1]);
}

const notices = [...packages].sort().map((name) => {
  const folder = join(here, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = ["LICENSE", "LICENSE.md", "LICENSE.txt", "license"].map((entry) => join(folder, entry)).find(existsSync);
  if (!file) throw new Error(`${name} ${version} (${license}) brings no licence text`);
  return `${name} ${version}\n\n${readFileSync(file, "utf8").trim()}`;
});
const licences = notices.length ? `\n\n${notices.join("\n\n----\n\n").replaceAll("*/", "* /")}\n` : " ";
const banner = `/*! ${fingerprint}${licences}*/`;
const files = [];
if (notices.length) {
  files.push([output, `${banner}\n${result.outputFiles[0].text}`]);
} else {
  result = await build({ ...settings, banner: { js: banner }, sourcemap: true });
  const [map, code] = result.outputFiles;
  const told = JSON.parse(map.text);
  told.sources = told.sources.map((source) => basename(source)); // and no folder of the machine that built it
  files.push([`${output}.map`, JSON.stringify(told)], [output, code.text]);
}

for (const [path, text] of files) {
  const unfinished = `${path}.part`;
  try {
    writeFileSync(unfinished, text);
    renameSync(unfinished, path);
  } finally {
    rmSync(unfinished, { force: true });
  }
}
