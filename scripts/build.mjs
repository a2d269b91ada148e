// Bundles the program, AWS's SDK for it, the client for Node programs and the board's page into one file each: an agent that starts on
// every node pays for each module it has to find and parse.
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { writeStartCode } from './lib/start-code.ts';
import { thirdPartyPage } from './lib/third-party.mjs';

const NEXT = 'dist/next';
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const SDK = 'ecs-sdk.cjs';
/** What the program loads only when it asks the ECS API: in a file of its own beside it. */
const sdkApart = {
  name: 'sdk-apart',
  setup: ({ onResolve }) => onResolve({ filter: /\/aws\/sdk\.ts$/ }, () => ({ path: `./${SDK}`, external: true })),
};
const onFirstUse = (name) => `module.exports = new Proxy({}, { get: (_, key) => require('${name}')[key] });`;
/** What packages load at once and no start has a use for, by importing file, and what they get instead. */
const STAND_INS = [
  // No message to or from etcd is compressed, and no command is a program of its own.
  { path: 'zlib', importer: /grpc-js/, contents: onFirstUse('zlib') },
  { path: 'node:child_process', importer: /commander/, contents: onFirstUse('node:child_process') },
  // The services of channelz, which is off.
  { path: './make-client', importer: /grpc-js.*channelz/, contents: '' },
  { path: './admin', importer: /grpc-js.*channelz/, contents: '' },
  // Node's expression for IPv6 addresses is compiled once more at its second use: 3 ms. Each such address has a colon.
  {
    path: 'net',
    importer: /grpc-js.*(subchannel-address|pick-first)/,
    contents: `const { isIP, isIPv6 } = require('net');
module.exports = { isIP, isIPv6: (text) => text.includes(':') && isIPv6(text) };`,
  },
];
const standIns = {
  name: 'stand-ins',
  setup({ onResolve, onLoad }) {
    for (const [index, { path, importer, contents }] of STAND_INS.entries()) {
      const namespace = `stand-in-${index}`;
      onResolve({ filter: new RegExp(`^${path}$`), namespace: 'file' }, (from) =>
        importer.test(from.importer) ? { path, namespace } : undefined,
      );
      onLoad({ filter: /./, namespace }, () => ({ contents }));
    }
  },
};
// A checkout and the image bring Node 24; a host that only gets the file may not.
const REFUSE_OLD_NODE = `if (parseInt(process.versions.node) < 24) {
  process.stderr.write('rollcall: this is Node ' + process.versions.node + ', and rollcall needs Node 24 or later\\n');
  process.exit(1);
}`;
/** Of March to July 2023. */
const BROWSERS = ['chrome111', 'firefox115', 'safari16.4'];
const common = {
  bundle: true,
  platform: 'node',
  target: 'node24',
  legalComments: 'linked',
  logLevel: 'warning',
  metafile: true,
  // grpc-js asks for it only to serve channelz and load reports; rollcall's messages need no .proto files.
  external: ['@grpc/proto-loader'],
};

rmSync(NEXT, { recursive: true, force: true });
const [program, sdk, client, httpClient, board, style] = await Promise.all([
  build({
    ...common,
    entryPoints: ['src/main.ts'],
    outfile: `${NEXT}/rollcall.cjs`,
    // CommonJS asks for Node's own modules where they are used. As ES imports they all load at the start, and `node:http`
    // so imported evaluates its getters, which load Node's own undici: 6 MB and 30 ms for nothing.
    format: 'cjs',
    minify: true,
    plugins: [sdkApart, standIns],
    // As `require`: an import of a module of Node's evaluates its getters, too, and in `node:vm` there is none.
    supported: { 'dynamic-import': false },
    define: { ROLLCALL_VERSION: JSON.stringify(version) },
    banner: { js: `#!/usr/bin/env node\n${REFUSE_OLD_NODE}` },
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
    plugins: [standIns],
    // Programs have the Node that they have.
    target: 'node20',
    minify: true,
    // The packages inside are CommonJS and ask for Node's modules by `require`, which an ES module has to make.
    // Only for modules of Node, so any path will do. A bundler that makes CommonJS of it has no import.meta.url, and
    // webpack, where it knows createRequire by its name, takes the modules for files that it does not find.
    banner: {
      js: "import * as nodeModule from 'node:module';\nconst require = nodeModule['create' + 'Require']('/');",
    },
  }),
  build({
    ...common,
    entryPoints: ['src/client/client-http.ts'],
    outfile: `${NEXT}/client-http.js`,
    format: 'esm',
    target: ['node20', ...BROWSERS],
    minify: true,
    // No Safari has `Symbol.dispose`, nor have older Chromes and Firefoxes. What `using` is compiled to looks for this one
    // in its place; other objects of ours have to get it, too.
    define: { 'Symbol.dispose': 'rollcallDispose' },
    banner: { js: "const rollcallDispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');" },
  }),
  build({
    ...common,
    entryPoints: ['src/board/main.tsx'],
    outdir: NEXT,
    write: false,
    platform: 'browser',
    format: 'esm',
    target: BROWSERS,
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
    minify: true,
  }),
  build({ entryPoints: ['src/board/board.css'], outdir: NEXT, write: false, minify: true, logLevel: 'warning' }),
  build({
    ...common,
    entryPoints: ['src/start.ts'],
    outfile: `${NEXT}/start.cjs`,
    format: 'cjs',
    minify: true,
    banner: { js: '#!/usr/bin/env node' },
  }),
]);

// One file: the agent reads it when a browser first asks, and hands it out as it is. It computes the policy that lets
// the browser run this script and no other from what is within.
const page = readFileSync('src/board/page.html', 'utf8')
  .replace('/*style*/', () => style.outputFiles[0].text.trim())
  .replace('/*script*/', () => board.outputFiles[0].text.trim());
writeFileSync(`${NEXT}/board.html.gz`, gzipSync(page, { level: 9 }));

/** The files that have a part in these bundles. */
const inputsOf = (...builds) =>
  builds
    .flatMap(({ metafile }) => Object.values(metafile.outputs))
    .flatMap(({ inputs }) => Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0))
    .map(([path]) => path);
writeFileSync(`${NEXT}/THIRD-PARTY.md`, thirdPartyPage(inputsOf(program, sdk, board)));
writeFileSync(`${NEXT}/client.THIRD-PARTY.md`, thirdPartyPage(inputsOf(client, httpClient)));

try {
  await writeStartCode(NEXT);
} catch (error) {
  rmSync(`${NEXT}/rollcall.code`, { force: true }); // that of the runs before the one that failed
  process.stderr.write(`scripts/build.mjs: no compiled code, so that starts take longer: ${error.message}\n`);
}

// A build that is cut short must not leave half a bundle that is newer than its sources: what scripts/setup looks at,
// the program, comes last. Declarations of an earlier client are of no use beside it.
rmSync('dist/types', { recursive: true, force: true });
const made = ['THIRD-PARTY.md', 'client.THIRD-PARTY.md', 'board.html.gz', 'client-http.js', 'client.js', SDK];
const files = [...made, 'start.cjs', 'rollcall.code', 'rollcall.cjs'].flatMap((name) => [`${name}.LEGAL.txt`, name]);
for (const name of files.filter((name) => existsSync(`${NEXT}/${name}`))) {
  renameSync(`${NEXT}/${name}`, `dist/${name}`);
}
rmSync(NEXT, { recursive: true });
