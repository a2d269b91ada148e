// Bundles the program into one file: an agent that starts on every node pays for each module it has to find and parse.
import { readFileSync } from 'node:fs';
import { build } from 'esbuild';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

await build({
  entryPoints: ['src/main.ts'],
  outfile: 'dist/rollcall.mjs',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  minify: true,
  legalComments: 'linked',
  define: { ROLLCALL_VERSION: JSON.stringify(version) },
  // The CommonJS packages inside still call require for Node's own modules.
  banner: {
    js: "#!/usr/bin/env node\nimport{createRequire}from'node:module';const require=createRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
