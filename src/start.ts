// Runs the program beside it, `rollcall.cjs`, by the compiled code beside that, `rollcall.code`. Node's own compile cache
// leaves out each function that is compiled when it is first called; this has all that a start calls.
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Script } from 'node:vm';

/** Those of the CommonJS module that this is in a build. */
declare const require: unknown;
declare const module: { readonly exports: unknown };
declare const __dirname: string;

const program = `${__dirname}/rollcall.cjs`;
const source = readProgram();

function readProgram(): Buffer {
  try {
    return readFileSync(program);
  } catch (error) {
    process.stderr.write(
      `rollcall: cannot read ${program} (${(error as NodeJS.ErrnoException).code}); it belongs beside start.cjs\n`,
    );
    process.exit(process.argv[2] === 'audit' ? 2 : 1); // of an audit 1 is a result
  }
}

/** What `scripts/build.mjs` put together: two digests and the code. Undefined where it is missing, cut, damaged, or of another program. */
function compiledCode(): Buffer | undefined {
  try {
    const file = readFileSync(`${__dirname}/rollcall.code`);
    const code = file.subarray(64);
    // V8 checks its version and flags, but of the source the length alone, and of the code nothing.
    const digests = [source, code].map((part) => hash('sha256', part, 'buffer'));
    return Buffer.concat(digests).equals(file.subarray(0, 64)) ? code : undefined;
  } catch {
    return undefined;
  }
}

const cachedData = compiledCode();
// The program begins on the first line, so that the numbers of lines stay; it is ASCII. Put together as bytes: of texts V8
// would keep a copy, 0.7 MB, until it collects garbage.
const head = Buffer.from('(function (exports, require, module, __filename, __dirname) {//');
const wrapped = Buffer.concat([head, source, Buffer.from('\n})')]);
// Code that V8 refuses, as another version's, it makes anew.
const script = new Script(wrapped.toString('latin1'), { filename: program, ...(cachedData && { cachedData }) });
script.runInThisContext()(module.exports, require, module, program, __dirname);
