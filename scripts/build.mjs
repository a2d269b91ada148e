// Bundles the program, AWS's SDK for it, and the client for Node programs into one file each (an agent that starts on
// every node pays for each module it has to find and parse), and writes the client's type declarations.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';

const NEXT = 'dist/next';
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const SDK = 'ecs-sdk.cjs';
/** What the program loads only when it asks the ECS API: in a file of its own beside it. */
const sdkApart = {
  name: 'sdk-apart',
  setup: ({ onResolve }) => onResolve({ filter: /\/aws\/sdk\.ts$/ }, () => ({ path: `./${SDK}`, external: true })),
};
const common = { bundle: true, platform: 'node', target: 'node24', legalComments: 'linked', logLevel: 'warning' };

rmSync(NEXT, { recursive: true, force: true });
await Promise.all([
  build({
    ...common,
    entryPoints: ['src/main.ts'],
    outfile: `${NEXT}/rollcall.cjs`,
    // CommonJS asks for Node's own modules where they are used. As ES imports they all load at the start, and `node:http`
    // so imported evaluates its getters, which load Node's own undici: 6 MB and 30 ms for nothing.
    format: 'cjs',
    minify: true,
    plugins: [sdkApart],
    define: { ROLLCALL_VERSION: JSON.stringify(version) },
    banner: { js: '#!/usr/bin/env node' },
  }),
  build({
    ...common,
    entryPoints: ['src/ecs/aws/sdk.ts'],
    outfile: `${NEXT}/${SDK}`,
    format: 'cjs',
    minify: true,
  }),
  build({
    ...common,
    entryPoints: ['src/client/client.ts'],
    outfile: `${NEXT}/client.js`,
    format: 'esm',
    // The packages inside are CommonJS and ask for Node's modules by `require`, which an ES module has to make.
    banner: { js: "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);" },
  }),
]);
declareTypes('client/client.d.ts');

// A build that is cut short must not leave half a bundle that is newer than its sources: what scripts/setup looks at,
// the program, comes last.
rmSync('dist/types', { recursive: true, force: true });
const files = ['client.js', SDK, 'rollcall.cjs'].flatMap((name) => [`${name}.LEGAL.txt`, name]);
for (const name of ['types', ...files].filter((name) => existsSync(`${NEXT}/${name}`))) {
  renameSync(`${NEXT}/${name}`, `dist/${name}`);
}
rmSync(NEXT, { recursive: true });

/** Writes the declarations that `entry` needs, and no others: a consumer's compiler reads them all. */
function declareTypes(entry) {
  const all = `${NEXT}/declarations`;
  try {
    execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.client.json', '--outDir', all]);
  } catch {
    // Declarations are written all the same, and judging types is the job of `npm run types`.
  }
  const seen = new Set();
  const queue = [entry];
  for (const file of queue) {
    if (seen.has(file)) continue;
    seen.add(file);
    const text = readFileSync(`${all}/${file}`, 'utf8').replace(/(from |import\()'(\.[^']+)\.ts'/g, (_, how, path) => {
      queue.push(join(dirname(file), `${path}.d.ts`));
      return `${how}'${path}.js'`;
    });
    const target = `${NEXT}/types/${file}`;
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
  }
}
