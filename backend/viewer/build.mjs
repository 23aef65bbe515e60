// Bundles the page into one file, dist/index.html (its address knows no files beside it), or with --tests every test into dist/tests.
import { build } from "esbuild";
import { readFile, writeFile, mkdir, readdir, rm } from "node:fs/promises";

const here = new URL(".", import.meta.url).pathname;

if (process.argv.includes("--tests")) {
  await rm(`${here}dist/tests`, { recursive: true, force: true });
  const names = (await readdir(`${here}tests`)).filter((name) => name.endsWith(".test.ts"));
  await build({
    entryPoints: names.map((name) => `${here}tests/${name}`),
    outdir: `${here}dist/tests`,
    bundle: true,
    platform: "node",
    format: "esm",
    outExtension: { ".js": ".mjs" },
    logLevel: "warning",
  });
} else {
  const { outputFiles } = await build({
    entryPoints: [`${here}src/main.ts`, `${here}src/style.css`],
    outdir: `${here}dist`,
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    legalComments: "inline",
    write: false,
    logLevel: "warning",
  });
  const text = (ending) => outputFiles.find((file) => file.path.endsWith(ending)).text;
  // A script ends at the first </script>, wherever it stands.
  const script = text(".js").replaceAll("</script", "<\\/script");
  const page = (await readFile(`${here}src/index.html`, "utf8"))
    .replace("/* style */", () => text(".css"))
    .replace("/* script */", () => script);
  await mkdir(`${here}dist`, { recursive: true });
  await writeFile(`${here}dist/index.html`, page);
}
