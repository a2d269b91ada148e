// Bundles the program into one file: an agent that starts on every node pays for each module it has to find and parse.
import { readFileSync, renameSync } from 'node:fs';
import { build } from 'esbuild';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

await build({
  entryPoints: ['src/main.ts'],
  outfile: 'dist/next/rollcall.cjs',
  bundle: true,
  platform: 'node',
  // CommonJS asks for Node's own modules where they are used. As ES imports they all load at the start, and `node:http`
  // so imported evaluates its getters, which load Node's own undici: 6 MB and 30 ms for nothing.
  format: 'cjs',
  target: 'node24',
  minify: true,
  legalComments: 'linked',
  define: { ROLLCALL_VERSION: JSON.stringify(version) },
  banner: { js: '#!/usr/bin/env node' },
  logLevel: 'warning',
});

// A build that is cut short must not leave half a bundle that is newer than its sources.
for (const name of ['rollcall.cjs.LEGAL.txt', 'rollcall.cjs']) renameSync(`dist/next/${name}`, `dist/${name}`);
