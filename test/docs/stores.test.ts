import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { nodeDocument, SHARED_DOCUMENT } from '../../src/audit/fleet-audit/watch-connections.ts';
import {
  differenceKey,
  documentKey,
  drainAdmissionKey,
  drainKey,
  leaderLockKey,
  presenceKey,
  recordKey,
} from '../../src/store/keys.ts';
import { sampleRecord } from '../support/sample-record.ts';

const PAGE = await readFile(new URL('../../docs/stores.md', import.meta.url), 'utf8');

/** The names in backquotes in the first column of the table below `heading`. */
function firstColumn(heading: string): string[] {
  const chapter = PAGE.slice(PAGE.indexOf(`\n${heading}\n`)).split(/\n## /)[1] ?? '';
  const rows = chapter.split('\n').filter((line) => line.startsWith('| `'));
  return rows.flatMap((row) => (row.split('|')[1] ?? '').match(/(?<=`)[^`,]+(?=`)/g) ?? []);
}

test('docs/stores.md names each field of a record, and no other', () => {
  assert.deepEqual(firstColumn('## The record').sort(), Object.keys(sampleRecord()).sort());
});

test('docs/stores.md names each key that rollcall writes, and no other', () => {
  const documents = ['summary', 'details', 'memory'].map((name) => documentKey('audit', name));
  const keys = [
    recordKey('INSTANCE'),
    presenceKey('INSTANCE'),
    differenceKey('KIND', 'INSTANCE:ID'),
    drainKey('INSTANCE'),
    drainAdmissionKey('CLUSTER', 'REGION-AND-ACCOUNT'),
    leaderLockKey('audit'),
    documentKey('audit', SHARED_DOCUMENT),
    documentKey('audit', nodeDocument('INSTANCE')),
    ...documents.map((key, index) => (index === 0 ? key : key.slice(key.lastIndexOf('/') + 1))),
  ];
  assert.deepEqual(firstColumn('## Keys').sort(), keys.sort());
});
