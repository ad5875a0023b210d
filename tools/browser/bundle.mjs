// Bundles codemirror.js into one minified ES module: node bundle.mjs OUTPUT FINGERPRINT
// build.py calls it after `npm ci`. The licences of everything bundled go on top of the file.
import { build } from "esbuild";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [output, fingerprint] = process.argv.slice(2);
if (!output || !fingerprint) {
  console.error("usage: node bundle.mjs OUTPUT FINGERPRINT");
  process.exit(2);
}

const result = await build({
  absWorkingDir: here,
  entryPoints: ["codemirror.js"],
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2020",
  metafile: true,
  write: false,
  logLevel: "warning",
  logLimit: 5,
});

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
const banner = `/*! ${fingerprint}\n\n${notices.join("\n\n----\n\n").replaceAll("*/", "* /")}\n*/\n`;

const unfinished = `${output}.part`;
try {
  writeFileSync(unfinished, banner + result.outputFiles[0].text);
  renameSync(unfinished, output);
} finally {
  rmSync(unfinished, { force: true });
}
