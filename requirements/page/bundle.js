// Makes asyncfilter/review/page/vendor/ from the packages of the lock: one module, and the licences beside it.
// The same packages give the same bytes, so that a test can compare the committed bundle with a new one.
import { copyFileSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2] ?? join(here, "../../asyncfilter/review/page/vendor");
const packages = ["preact", "htm", "@preact/signals", "@preact/signals-core"];

const described = packages.map((name) => {
  const { version, license } = JSON.parse(readFileSync(join(here, "node_modules", name, "package.json"), "utf8"));
  return `${name} ${version} (${license})`;
});

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
await build({
  entryPoints: [join(here, "vendor.js")],
  outfile: join(target, "preact.js"),
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  banner: { js: `// Made by \`make vendor\`: ${described.join(", ")}. Licences: LICENSE-*.txt beside this file.` },
});
for (const name of packages) {
  const file = `LICENSE-${name.replace("@", "").replace("/", "-")}.txt`;
  copyFileSync(join(here, "node_modules", name, "LICENSE"), join(target, file));
}
