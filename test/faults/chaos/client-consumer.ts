/**
 * A consumer of its own, to be killed at any moment: `client-consumer.ts URL FILE` appends each event it gets to the
 * file, a line each, and goes on after the last one in it.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { connect, type WatchedEvent } from '../../../src/client/client.ts';
import { parseLines } from './lines.ts';

const [url = '', file = ''] = process.argv.slice(2);
const done = existsSync(file) ? parseLines<WatchedEvent>(readFileSync(file, 'utf8')) : [];
const since = done.at(-1)?.cursor ?? null;

// The first line break ends what was cut off in the middle of a line.
appendFileSync(file, '\n');
for await (const event of connect(url).watch({ since })) appendFileSync(file, `${JSON.stringify(event)}\n`);
