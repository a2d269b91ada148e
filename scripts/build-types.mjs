// Writes the clients' type declarations to dist/types: its own and those it refers to, and no others, since a consumer's
// compiler reads them all. Needs the packages of test/.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const NEXT = 'dist/next-types';
const ENTRIES = ['client/client.d.ts', 'client/client-http.d.ts'];

rmSync(NEXT, { recursive: true, force: true });
const all = `${NEXT}/all`;
// Declarations are written also where types are wrong, and judging these is the job of scripts/test types.
const tsc = 'test/node_modules/typescript/bin/tsc';
const { stdout } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.client.json', '--outDir', all], {
  encoding: 'utf8',
});

const seen = new Set();
const queue = [...ENTRIES];
for (const file of queue) {
  if (seen.has(file)) continue;
  seen.add(file);
  let declared;
  try {
    declared = readFileSync(`${all}/${file}`, 'utf8');
  } catch {
    throw new Error(`tsc wrote no ${file}: ${stdout.trim()}`);
  }
  const text = declared.replace(/(from |import\()'(\.[^']+)\.ts'/g, (_, how, path) => {
    queue.push(join(dirname(file), `${path}.d.ts`));
    return `${how}'${path}.js'`;
  });
  const target = `${NEXT}/types/${file}`;
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, text);
}
rmSync('dist/types', { recursive: true, force: true });
renameSync(`${NEXT}/types`, 'dist/types');
rmSync(NEXT, { recursive: true });
